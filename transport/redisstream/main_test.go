package redisstream

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

func percentile(ds []time.Duration, p int) time.Duration {
	s := slices.Sorted(slices.Values(ds))
	return s[min(len(s)*p/100, len(s)-1)]
}

// leakFree fails the test if goroutines are left when it has cleaned up. Call it first.
func leakFree(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, before, goleak.IgnoreTopFunction("github.com/redis/go-redis/v9/internal/pool.startGlobalTimeCache.func1"))
	})
}

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// producing is a transport on a client of s that waits for answers as long as given; 0 is the default.
func producing(t testing.TB, addr string, wait time.Duration) *Transport {
	c := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: wait, DialerRetries: 1})
	tr := New(c, Options{})
	t.Cleanup(func() {
		require.NoError(t, tr.Close())
		require.NoError(t, c.Close())
	})
	return tr
}

func text2msg(bodies ...string) (ms []*transport.Message) {
	for _, b := range bodies {
		ms = append(ms, &transport.Message{ID: transport.NewID(), Body: []byte(b)})
	}
	return ms
}

// bodies are those of a stream, in order.
func bodies(t testing.TB, c redis.UniversalClient, stream string) (all []string) {
	t.Helper()
	es, err := c.XRange(t.Context(), stream, "-", "+").Result()
	require.NoError(t, err)
	for _, e := range es {
		all = append(all, e.Values["data"].(string))
	}
	return all
}

func outcomesOf(t testing.TB, err error) []transport.Outcome {
	t.Helper()
	var e *transport.PublishError
	require.ErrorAs(t, err, &e)
	return e.Outcomes
}

// warm makes the connections of a transport, so that a stall hits a command and not a handshake.
func warm(t testing.TB, tr *Transport, s *redistest.Server) {
	t.Helper()
	assert.NoError(t, tr.Publish(bounded(t), transport.Topic{Name: "warm"}, text2msg("x")))
}
