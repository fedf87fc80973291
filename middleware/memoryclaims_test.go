package middleware_test

import (
	"math"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/claimtest"
	"github.com/typedbus/typedbus/transport"
)

func oneMemory(testing.TB) func() middleware.Claims {
	m := middleware.NewMemoryClaims()
	return func() middleware.Claims { return m }
}

func TestMemoryClaimsContract(t *testing.T) {
	claimtest.Run(t, claimtest.Harness{Store: oneMemory, Expiry: 10 * time.Second, Bubble: true})
}

func TestMemoryClaimsContractInRealTime(t *testing.T) {
	claimtest.Run(t, claimtest.Harness{Store: oneMemory})
}

func TestMemoryClaimsForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := middleware.NewMemoryClaims()
		const rate, keep = 1000, 20 // a second, and for how many
		for second := range 10 * keep {
			for n := range rate {
				c := transport.Claim{Key: strconv.Itoa(second*rate + n), Owner: "1"}
				_, _, err := m.Begin(t.Context(), c, time.Second)
				require.NoError(t, err)
				if n%10 > 0 { // the others are never finished
					require.NoError(t, m.Finish(t.Context(), c, keep*time.Second))
				}
			}
			time.Sleep(time.Second)
			require.Less(t, m.Len(), 5*rate*keep/2, "in second %d", second)
		}
	})
}

// Each operation begins and finishes another claim.
func BenchmarkMemoryClaims(b *testing.B) {
	b.ReportAllocs()
	m := middleware.NewMemoryClaims()
	keys := make([]string, 1<<16)
	for i := range keys {
		keys[i] = transport.NewID()
	}
	n := 0
	for b.Loop() {
		c := transport.Claim{Topic: "orders.placed", Group: "billing", Key: keys[n%len(keys)], Owner: "1"}
		if _, _, err := m.Begin(b.Context(), c, time.Minute); err != nil {
			b.Fatal(err)
		}
		if err := m.Finish(b.Context(), c, time.Millisecond); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

func TestMemoryClaimsKeepForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := middleware.NewMemoryClaims()
		time.Sleep(time.Hour)
		require.NoError(t, m.Finish(t.Context(), claimOfBead("1"), math.MaxInt64))
		require.Equal(t, "done", stateOf(t, m, "1"))
		_, _, err := m.Begin(t.Context(), transport.Claim{Key: "2", Owner: "a"}, math.MaxInt64)
		require.NoError(t, err)
		_, wait, err := m.Begin(t.Context(), transport.Claim{Key: "2", Owner: "b"}, math.MaxInt64)
		require.NoError(t, err)
		require.Positive(t, wait)
	})
}
