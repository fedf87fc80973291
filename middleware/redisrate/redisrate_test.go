package redisrate_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/redisrate"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/redis/go-redis/v9/internal/pool.startGlobalTimeCache.func1"))
}

func take(t *testing.T, l middleware.Limiter, key string) time.Duration {
	t.Helper()
	wait, err := l.Take(t.Context(), key)
	require.NoError(t, err)
	return wait
}

// TestLimitersShareTheirTokens: two processes together get no more than the limit.
func TestLimitersShareTheirTokens(t *testing.T) {
	s := redistest.Start(t)
	limit := redisrate.Limit{Rate: 100, Burst: 10}
	begun := time.Now()
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		l := redisrate.New(s.Client(), limit)
		for range 4 {
			wg.Go(func() {
				for range 300 {
					if wait, err := l.Take(t.Context(), "orders/billing"); assert.NoError(t, err) && wait == 0 {
						taken.Add(1)
					}
				}
			})
		}
	}
	wg.Wait()
	assert.GreaterOrEqual(t, taken.Load(), int64(10))
	assert.LessOrEqual(t, float64(taken.Load()), 10+100*time.Since(begun).Seconds())
}

// TestWaitIsTrue: nothing is taken by who has to wait, and after the wait there is a token.
func TestWaitIsTrue(t *testing.T) {
	s := redistest.Start(t)
	l := redisrate.New(s.Client(), redisrate.Limit{Rate: 1, Period: 300 * time.Millisecond})
	require.Zero(t, take(t, l, "k"))
	var wait time.Duration
	for range 50 {
		wait = take(t, l, "k")
		require.Positive(t, wait)
		require.LessOrEqual(t, wait, 300*time.Millisecond)
	}
	<-time.After(wait)
	assert.Zero(t, take(t, l, "k"))
	assert.Zero(t, take(t, l, "another"), "each key by itself")
}

func TestKeysAreNamedAndExpire(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	take(t, redisrate.New(c, redisrate.Limit{Rate: 5}), "orders/billing")
	take(t, redisrate.New(c, redisrate.Limit{Rate: 5, Prefix: "shop:"}), "orders/billing")
	keys, err := c.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"rate:typedbus:orders/billing", "rate:shop:orders/billing"}, keys)
	for _, key := range keys {
		ttl, err := c.PTTL(t.Context(), key).Result()
		require.NoError(t, err)
		assert.Positive(t, ttl)
	}
}

func TestCluster(t *testing.T) {
	c := redistest.StartCluster(t, 3, 0)
	l := redisrate.New(c.Client(), redisrate.Limit{Rate: 1, Period: time.Hour})
	for _, key := range strings.Fields("a b c d e f") {
		assert.Zero(t, take(t, l, key))
		assert.Positive(t, take(t, l, key))
	}
}

func TestRedisAway(t *testing.T) {
	s := redistest.Start(t)
	c := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { c.Close() })
	l := redisrate.New(c, redisrate.Limit{Rate: 1})
	s.Kill()
	_, err := l.Take(t.Context(), "k")
	require.ErrorContains(t, err, "redisrate: ")
	s.Restart()
	assert.Zero(t, take(t, l, "k"))
}

func TestMistakes(t *testing.T) {
	c := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { c.Close() })
	for _, l := range []redisrate.Limit{{}, {Rate: -1}, {Rate: 1, Burst: -1}, {Rate: 1, Period: -1}} {
		_, err := redisrate.New(c, l).Take(t.Context(), "k")
		assert.ErrorContains(t, err, "Rate must be at least 1")
	}
	_, err := redisrate.New(nil, redisrate.Limit{Rate: 1}).Take(t.Context(), "k")
	assert.ErrorContains(t, err, "nil client")
}

// TestRateLimit: two consumers of a group, each with its limiter, handle their events at the shared rate, and none fails.
func TestRateLimit(t *testing.T) {
	s := redistest.Start(t)
	numbers := bus.NewTopic("numbers", codec.JSON[int]())
	tr := memory.New()
	t.Cleanup(func() { tr.Close() })
	const events, rate, burst = 60, 100, 5
	var mu sync.Mutex
	var at []time.Time
	var buses []*bus.Bus
	for range 2 {
		l := redisrate.New(s.Client(), redisrate.Limit{Rate: rate, Burst: burst})
		peer := tr.Peer()
		t.Cleanup(func() { peer.Close() })
		b := bus.New(peer, bus.Logger(nil), bus.Use(middleware.RateLimit(l, middleware.RateLimitOptions{MaxWait: 20 * time.Millisecond})))
		numbers.Subscribe(b, "alarm", func(context.Context, *bus.Event[int]) error {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Now())
			return nil
		})
		buses = append(buses, b)
	}
	require.NoError(t, numbers.PublishAll(t.Context(), buses[0], make([]int, events)))
	begun := time.Now()
	for _, b := range buses {
		stop := bustest.Start(t, b)
		defer stop()
	}
	for _, b := range buses {
		bustest.Settle(t, b)
		st, err := b.Stats(t.Context())
		require.NoError(t, err)
		assert.Zero(t, st.Subscriptions[0].Failed)
	}
	require.Len(t, at, events)
	for i, when := range at {
		assert.LessOrEqual(t, float64(i+1), burst+rate*when.Sub(begun).Seconds())
	}
}

func BenchmarkTake(b *testing.B) {
	s := redistest.Start(b)
	l := redisrate.New(s.Client(), redisrate.Limit{Rate: 1e6, Burst: 1e6})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Take(b.Context(), "orders/billing"); err != nil {
			b.Fatal(err)
		}
	}
}
