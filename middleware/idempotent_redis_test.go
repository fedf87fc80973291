package middleware_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// The server has begun the claim, and nobody hears of it: the event is handled when it comes again, long before the claim expires.
func TestIdempotentWhereAnswersOfRedisAreLost(t *testing.T) {
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr, ReadTimeout: 100 * time.Millisecond, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	tr := redisstream.New(client, redisstream.Options{})
	t.Cleanup(func() { _ = tr.Close() })
	require.NoError(t, client.Ping(t.Context()).Err())
	h := middleware.Idempotent(tr, middleware.IdempotentOptions{})(returning(nil))

	proxy.SwallowReplies(true)
	require.Equal(t, bus.Paused, bus.VerdictOf(h(t.Context(), oneDelivery("1"))).Kind)
	proxy.SwallowReplies(false)
	proxy.Cut()
	require.NoError(t, h(t.Context(), oneDelivery("1")))
}
