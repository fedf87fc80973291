package middleware_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// TestRetryKeepsItsLeaseOnRedis: an event that is tried again for three leases stays with its consumer, though another of the
// group waits for it.
func TestRetryKeepsItsLeaseOnRedis(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	const lease, needed = time.Second, 3 * time.Second
	var first atomic.Pointer[time.Time]
	var handled atomic.Int64
	var tries [2]atomic.Int64
	consumer := func(n int) *bus.Bus {
		tr, err := redisstream.Open(t.Context(), s.URL, redisstream.Options{})
		require.NoError(t, err)
		t.Cleanup(func() { tr.Close() })
		b := bus.New(tr, bus.Logger(silent))
		beads.Subscribe(b, "counting", func(_ context.Context, e *bus.Event[int]) error {
			tries[n].Add(1)
			assert.Equal(t, []int{1, 0}, []int{e.Attempt, e.Redelivered})
			now := time.Now()
			first.CompareAndSwap(nil, &now)
			if now.Sub(*first.Load()) < needed {
				return errBroken
			}
			handled.Add(1)
			return nil
		}, bus.Lease(lease), bus.Use(middleware.Retry(middleware.RetryOptions{
			Tries: 1e6, Min: 500 * time.Millisecond, Max: 500 * time.Millisecond, Within: time.Minute,
		})))
		bustest.Start(t, b)
		return b
	}
	b := consumer(0)
	consumer(1)
	publishBeads(t, b, 1)
	bustest.Settle(t, b)
	assert.Equal(t, int64(1), handled.Load())
	assert.Zero(t, tries[0].Load()*tries[1].Load(), "one consumer has it all the time")
	assert.Greater(t, tries[0].Load()+tries[1].Load(), int64(1))
}
