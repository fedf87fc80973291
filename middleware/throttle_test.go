package middleware_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

// keyed is a delivery with a key.
func keyed(key string) *bus.Delivery {
	return bus.NewDelivery(&transport.Delivery{Message: &bus.Message{ID: "1", Key: key}, Topic: "quakes", Group: "g", Attempt: 1}, nil)
}

func TestThrottleGivesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := middleware.Throttle(middleware.ThrottleOptions{Rate: 2, Burst: 3})(func(context.Context, *bus.Delivery) error { return nil })
		for range 3 {
			require.NoError(t, h(t.Context(), keyed("hot")))
		}
		for i := range 10 {
			v := bus.VerdictOf(h(t.Context(), keyed("hot")))
			assert.Equal(t, bus.Snoozed, v.Kind)
			assert.Equal(t, time.Duration(i+1)*500*time.Millisecond, v.After.Truncate(time.Microsecond), "each has a turn of its own")
			require.NoError(t, h(t.Context(), keyed(fmt.Sprint("cold ", i))), "other keys go on")
		}
		time.Sleep(time.Hour)
		for range 3 {
			require.NoError(t, h(t.Context(), keyed("hot")))
		}
		v := bus.VerdictOf(h(t.Context(), keyed("hot")))
		assert.Equal(t, 500*time.Millisecond, v.After.Truncate(time.Microsecond), "old turns are over")
	})
}

func TestThrottleDefaults(t *testing.T) {
	calls := func(o middleware.ThrottleOptions) (n int) {
		h := middleware.Throttle(o)(func(context.Context, *bus.Delivery) error { return nil })
		for h(t.Context(), keyed("k")) == nil {
			n++
		}
		return n
	}
	synctest.Test(t, func(t *testing.T) {
		assert.Equal(t, 1, calls(middleware.ThrottleOptions{}))
		assert.Equal(t, 3, calls(middleware.ThrottleOptions{Rate: 2.5}))
		assert.Equal(t, 1, calls(middleware.ThrottleOptions{Rate: -1}))
		assert.Equal(t, 1, calls(middleware.ThrottleOptions{Rate: math.NaN()}))
		assert.Equal(t, 4, calls(middleware.ThrottleOptions{Burst: 4}))
	})
}

func TestThrottleKeysAndSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		byTopic := middleware.Throttle(middleware.ThrottleOptions{Key: func(d *bus.Delivery) string { return d.Topic }})
		next := func(context.Context, *bus.Delivery) error { return nil }
		one, other := byTopic(next), byTopic(next)
		require.NoError(t, one(t.Context(), keyed("a")))
		require.Error(t, one(t.Context(), keyed("b")))
		require.NoError(t, other(t.Context(), keyed("a")), "each subscription has limits of its own")
	})
}

// TestThrottleKeepsTheRate: each key of a backlog is handled at its rate, and its events do not come back all at once.
func TestThrottleKeepsTheRate(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := middleware.ThrottleOptions{
			Rate:  math.Exp(rapid.Float64Range(math.Log(0.1), math.Log(200)).Draw(rt, "log of the rate")),
			Burst: rapid.IntRange(1, 20).Draw(rt, "burst"),
		}
		concurrency := rapid.IntRange(1, 20).Draw(rt, "concurrency")
		keys := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", ""}), 1, 200).Draw(rt, "keys")
		synctest.Test(t, func(t *testing.T) {
			tables := map[string]*timetable{}
			events := map[string]int{}
			for _, key := range keys {
				tables[key] = &timetable{}
				events[key]++
			}
			counts := throughBuses(t, 1, concurrency, keys, middleware.Throttle(o), func(ctx context.Context, e *bus.Event[int]) error {
				return tables[e.Key].handle(ctx, e)
			})
			for key, tt := range tables {
				assert.NoError(rt, tt.verify(events[key], o.Rate, o.Burst, 10*time.Millisecond))
			}
			assert.Zero(rt, counts.Failed)
			assert.LessOrEqual(rt, counts.Deferred, uint64(len(keys)), "an event waits for its turn once")
		})
	})
}

// turns returns a function that has an event come at a time, in seconds, and returns when it is to come again; 0 if it is handled.
func turns(t *testing.T, o middleware.ThrottleOptions) func(at float64) float64 {
	h := middleware.Throttle(o)(func(context.Context, *bus.Delivery) error { return nil })
	begun := time.Now()
	return func(at float64) float64 {
		time.Sleep(time.Until(begun.Add(time.Duration(at * 1e9))))
		err := h(t.Context(), keyed("hot"))
		if err == nil {
			return 0
		}
		return (time.Since(begun) + bus.VerdictOf(err).After).Round(time.Millisecond).Seconds()
	}
}

// TestThrottleKeepsTurns: who comes late, or after one who came late, is not sent to the end of the line, and newcomers are.
func TestThrottleKeepsTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn := turns(t, middleware.ThrottleOptions{Rate: 1})
		require.Zero(t, turn(0))
		for i := range 5 {
			require.Equal(t, float64(i+1), turn(0))
		}
		require.Zero(t, turn(1.5), "the first comes late")
		require.Equal(t, 2.5, turn(2.01), "and so the second has to wait")
		require.Equal(t, 6.0, turn(2.1), "but a newcomer is the last")
		require.Zero(t, turn(2.51))
	})
	synctest.Test(t, func(t *testing.T) {
		turn := turns(t, middleware.ThrottleOptions{Rate: 1, Burst: 3})
		for range 3 {
			require.Zero(t, turn(0))
		}
		for i := range 10 {
			require.Equal(t, float64(i+1), turn(0))
		}
		for range 3 {
			require.Zero(t, turn(5.5), "five come late")
		}
		require.Equal(t, 6.5, turn(5.5))
		require.Equal(t, 7.5, turn(5.5), "and have one turn after the other")
		require.Equal(t, 11.0, turn(5.5), "and then the newcomers")
	})
}

// TestThrottleOfLateEvents: events come back late, each by another time. That may cost so much of the rate, and not more.
func TestThrottleOfLateEvents(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := middleware.ThrottleOptions{
			Rate:  math.Exp(rapid.Float64Range(math.Log(0.1), math.Log(200)).Draw(rt, "log of the rate")),
			Burst: rapid.IntRange(1, 5).Draw(rt, "burst"),
		}
		late := time.Duration(rapid.Int64Range(1, int64(200*time.Millisecond)).Draw(rt, "late"))
		events := rapid.IntRange(1, 100).Draw(rt, "events")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		delays := make([]time.Duration, 10*events)
		for i := range delays {
			delays[i] = time.Duration(random.Int64N(int64(late)))
		}
		synctest.Test(t, func(t *testing.T) {
			var tt timetable
			var n atomic.Int32
			h := middleware.Throttle(o)(func(ctx context.Context, _ *bus.Delivery) error { return tt.handle(ctx, nil) })
			var wg sync.WaitGroup
			for range events {
				wg.Go(func() {
					for err := h(t.Context(), keyed("hot")); err != nil; err = h(t.Context(), keyed("hot")) {
						time.Sleep(bus.VerdictOf(err).After + delays[int(n.Add(1))%len(delays)])
					}
				})
			}
			wg.Wait()
			slack := 2*late*time.Duration(events) + time.Millisecond
			assert.NoError(rt, tt.verify(events, o.Rate, o.Burst, slack))
			assert.LessOrEqual(rt, int(n.Load()), 5*events)
		})
	})
}

// TestThrottleForgets: 100,000 keys and more do not stay in memory.
func TestThrottleForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := middleware.Throttle(middleware.ThrottleOptions{Rate: 100})(func(context.Context, *bus.Delivery) error { return nil })
		before := heap()
		for n := range 300_000 {
			require.NoError(t, h(t.Context(), keyed(fmt.Sprint("customer ", n))))
			if n%1000 == 0 {
				time.Sleep(100 * time.Millisecond)
			}
		}
		used := heap() - before
		assert.Less(t, used, int64(20<<20), "some 20,000 keys are in use within a second; 300,000 take four times as much")
		runtime.KeepAlive(h)
	})
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestThrottleIsForManyAtOnce(t *testing.T) {
	h := middleware.Throttle(middleware.ThrottleOptions{Rate: 1000})(func(context.Context, *bus.Delivery) error { return nil })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range 5000 {
				if err := h(t.Context(), keyed(fmt.Sprint(n%10))); err != nil {
					assert.Equal(t, bus.Snoozed, bus.VerdictOf(err).Kind)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkThrottle(b *testing.B) {
	h := middleware.Throttle(middleware.ThrottleOptions{Rate: 1e12})(func(context.Context, *bus.Delivery) error { return nil })
	d, ctx := keyed("customer"), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if err := h(ctx, d); err != nil {
			b.Fatal(err)
		}
	}
}
