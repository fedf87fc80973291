package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/memory"
)

// timetable is when events were handled.
type timetable struct {
	mu sync.Mutex
	at []time.Time
}

func (tt *timetable) handle(context.Context, *bus.Event[int]) error {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	tt.at = append(tt.at, time.Now())
	return nil
}

// verify checks that in no time window there are more than a bucket gives, and that all together did not take much longer.
func (tt *timetable) verify(events int, perSecond float64, burst int, slack time.Duration) error {
	if len(tt.at) != events {
		return fmt.Errorf("%d of %d events were handled", len(tt.at), events)
	}
	slices.SortFunc(tt.at, time.Time.Compare)
	for i := range tt.at {
		for j := i; j < len(tt.at); j++ {
			window := tt.at[j].Sub(tt.at[i])
			if n, most := j-i+1, float64(burst)+perSecond*window.Seconds()+1e-6; float64(n) > most {
				return fmt.Errorf("%d events within %v: at most %.3f may be", n, window, most)
			}
		}
	}
	took := tt.at[len(tt.at)-1].Sub(tt.at[0])
	if least := max(0, float64(events-burst)/perSecond); took.Seconds() > least*1.2+slack.Seconds() {
		return fmt.Errorf("%d events took %v, at the limit it is %.3gs", events, took, least)
	}
	return nil
}

// TestRateLimitKeepsTheRate: whatever the limit, how long events wait in their slots, and how many consumers share it.
func TestRateLimitKeepsTheRate(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		perSecond := math.Exp(rapid.Float64Range(math.Log(0.1), math.Log(500)).Draw(rt, "log of the rate"))
		burst := rapid.IntRange(1, 20).Draw(rt, "burst")
		maxWait := rapid.SampledFrom([]time.Duration{-1, time.Millisecond, 50 * time.Millisecond, 0, 5 * time.Second}).Draw(rt, "max wait")
		consumers := rapid.IntRange(1, 3).Draw(rt, "consumers")
		concurrency := rapid.IntRange(1, 20).Draw(rt, "concurrency")
		events := rapid.IntRange(1, 150).Draw(rt, "events")
		synctest.Test(t, func(t *testing.T) {
			var tt timetable
			limit := middleware.RateLimit(middleware.PerSecond(perSecond, burst), middleware.RateLimitOptions{MaxWait: maxWait})
			counts := throughBuses(t, consumers, concurrency, make([]string, events), limit, tt.handle)
			assert.NoError(rt, tt.verify(events, perSecond, burst, time.Second))
			assert.Zero(rt, counts.Failed)
		})
	})
}

// throughBuses publishes an event for each key, and has all of them handled by consumers of one group.
func throughBuses(t *testing.T, consumers, concurrency int, keys []string, mw bus.Middleware, h bus.HandlerOf[int]) (c bus.Counts) {
	t.Helper()
	tr := memory.New()
	defer tr.Close()
	buses := make([]*bus.Bus, consumers)
	for i := range buses {
		peer := tr.Peer()
		defer peer.Close()
		buses[i] = bus.New(peer, bus.Logger(nil), bus.Use(mw))
		quakes.Subscribe(buses[i], "alarm", h, bus.Concurrency(concurrency))
	}
	for i, key := range keys {
		require.NoError(t, quakes.Publish(t.Context(), buses[0], i, bus.Key(key)))
	}
	for _, b := range buses {
		stop := bustest.Start(t, b)
		defer stop()
	}
	for _, b := range buses {
		bustest.Settle(t, b)
		st, err := b.Stats(t.Context())
		require.NoError(t, err)
		s := st.Subscriptions[0]
		c.Done, c.Failed, c.Deferred = c.Done+s.Done, c.Failed+s.Failed, c.Deferred+s.Deferred
	}
	return c
}

// slow is a limiter that answers what it is told.
type slow struct {
	mu    sync.Mutex
	waits []time.Duration // then 0
	err   error
	keys  []string
}

func (s *slow) Take(ctx context.Context, key string) (wait time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, key)
	if len(s.waits) > 0 {
		wait, s.waits = s.waits[0], s.waits[1:]
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return wait, s.err
}

// limited calls a handler behind a limiter, and returns whether it was called.
func limited(ctx context.Context, l middleware.Limiter, o middleware.RateLimitOptions) (called bool, err error) {
	h := middleware.RateLimit(l, o)(func(context.Context, *bus.Delivery) error { called = true; return nil })
	err = h(ctx, lone("pages", "1"))
	return called, err
}

func TestRateLimitWaitsInItsSlotOrPauses(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		waits  []time.Duration
		max    time.Duration
		took   time.Duration
		paused time.Duration
	}{
		"a token":                  {nil, 0, 0, 0},
		"soon":                     {[]time.Duration{ms}, 0, ms, 0},
		"up to a second":           {[]time.Duration{1000 * ms}, 0, 1000 * ms, 0},
		"others were faster":       {[]time.Duration{300 * ms, 300 * ms, 300 * ms}, 0, 900 * ms, 0},
		"others were faster often": {[]time.Duration{300 * ms, 300 * ms, 300 * ms, 300 * ms}, 0, 900 * ms, 300 * ms},
		"too long":                 {[]time.Duration{1001 * ms}, 0, 0, 1001 * ms},
		"no waiting":               {[]time.Duration{ms}, -1, 0, ms},
		"more waiting":             {[]time.Duration{9000 * ms}, 10_000 * ms, 9000 * ms, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				called, err := limited(t.Context(), &slow{waits: c.waits}, middleware.RateLimitOptions{MaxWait: c.max})
				assert.Equal(t, c.took, time.Since(begun))
				assert.Equal(t, c.paused == 0, called)
				v := bus.VerdictOf(err)
				assert.Equal(t, c.paused, v.After)
				if !called {
					assert.Equal(t, bus.Paused, v.Kind)
				}
			})
		})
	}
}

// TestRateLimitInLine: one event at a time waits for the next token. Who was behind it asks at once if its own wait is over.
func TestRateLimitInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const half = 500 * time.Millisecond
		s := &slow{waits: []time.Duration{half, half, half}}
		h := middleware.RateLimit(s, middleware.RateLimitOptions{})(func(context.Context, *bus.Delivery) error { return nil })
		begun := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { assert.NoError(t, h(t.Context(), lone("pages", "1"))) })
		}
		wg.Wait()
		assert.Equal(t, half, time.Since(begun))
		assert.Len(t, s.keys, 6)
	})
}

func TestRateLimitWithoutItsLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := &slow{err: bus.Permanent(errors.New("away"))}
		called, err := limited(t.Context(), away, middleware.RateLimitOptions{})
		assert.False(t, called)
		v := bus.VerdictOf(err)
		assert.Equal(t, bus.Verdict{Kind: bus.Paused, After: time.Second, Err: v.Err}, v)
		assert.ErrorContains(t, err, "away")

		called, err = limited(t.Context(), away, middleware.RateLimitOptions{FailOpen: true})
		assert.True(t, called)
		assert.NoError(t, err)

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		called, err = limited(ended, away, middleware.RateLimitOptions{FailOpen: true})
		assert.False(t, called)
		assert.Equal(t, bus.Snoozed, bus.VerdictOf(err).Kind)

		called, err = limited(t.Context(), middleware.PerSecond(0, 1), middleware.RateLimitOptions{})
		assert.False(t, called)
		assert.Equal(t, bus.Paused, bus.VerdictOf(err).Kind)
		assert.ErrorContains(t, err, "the rate must be more than 0")
	})
	b := bus.New(memory.New(), bus.Use(middleware.RateLimit(nil, middleware.RateLimitOptions{})))
	assert.ErrorContains(t, b.Run(t.Context()), "is nil")
}

func TestRateLimitKeys(t *testing.T) {
	var s slow
	h := middleware.RateLimit(&s, middleware.RateLimitOptions{})(func(context.Context, *bus.Delivery) error { return nil })
	for _, topic := range []string{"a", "a", "b"} {
		require.NoError(t, h(t.Context(), lone(topic, "1")))
	}
	_, err := limited(t.Context(), &s, middleware.RateLimitOptions{Key: func(d *bus.Delivery) string { return "id " + d.ID }})
	require.NoError(t, err)
	assert.Equal(t, []string{"a/g", "a/g", "b/g", "id 1"}, s.keys)
}

// TestRateLimitStopsWaiting: the drain and the end of the context give the event back at once, with no attempt lost.
func TestRateLimitStopsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		defer tr.Close()
		hour := &slow{waits: slices.Repeat([]time.Duration{time.Hour}, 100)}
		limit := middleware.RateLimit(hour, middleware.RateLimitOptions{MaxWait: 2 * time.Hour})
		b := bus.New(tr, bus.Logger(nil), bus.Use(limit))
		quakes.Subscribe(b, "alarm", func(context.Context, *bus.Event[int]) error { t.Error("handled"); return nil })
		for n := range 10 {
			require.NoError(t, quakes.Publish(t.Context(), b, n))
		}
		stop := bustest.Start(t, b)
		synctest.Wait()
		begun := time.Now()
		stop()
		assert.Zero(t, time.Since(begun))
		st, err := b.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, bus.Counts{Deferred: 10}, st.Subscriptions[0].Counts)

		ended, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = limited(ended, hour, middleware.RateLimitOptions{MaxWait: 2 * time.Hour})
		assert.Equal(t, bus.Snoozed, bus.VerdictOf(err).Kind)
		assert.Zero(t, bus.VerdictOf(err).After)
	})
}

// TestPerSecondIsForManyAtOnce: a clock that is read outside a lock goes back, and a bucket that sees that gives too much.
func TestPerSecondIsForManyAtOnce(t *testing.T) {
	const perSecond, burst = 100_000, 10
	l := middleware.PerSecond(perSecond, burst)
	begun := time.Now()
	taken := make([]int, 8)
	var wg sync.WaitGroup
	for i := range taken {
		wg.Go(func() {
			for range 50_000 {
				if wait, err := l.Take(t.Context(), "k"); err == nil && wait == 0 {
					taken[i]++
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range taken {
		sum += n
	}
	assert.LessOrEqual(t, float64(sum), burst+perSecond*time.Since(begun).Seconds())
}

// TestPerSecondForgets: many keys do not stay in memory.
func TestPerSecondForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := middleware.PerSecond(10, 50)
		for n := range 100_000 {
			wait, err := l.Take(t.Context(), fmt.Sprint("customer ", n))
			require.NoError(t, err)
			require.Zero(t, wait)
			time.Sleep(time.Millisecond)
		}
		assert.LessOrEqual(t, middleware.KeysOf(l), 10_000, "those of twice the time that a bucket takes to fill")
		for range 50 {
			wait, _ := l.Take(t.Context(), "busy")
			require.Zero(t, wait)
		}
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			wait, _ := l.Take(t.Context(), "busy")
			require.Zero(t, wait)
			wait, _ = l.Take(t.Context(), "busy")
			require.NotZero(t, wait, "a key in use is not forgotten")
		}
		time.Sleep(time.Hour)
		_, _ = l.Take(t.Context(), "one")
		assert.Equal(t, 1, middleware.KeysOf(l))
	})
}

// TestPerSecondSaysWhen: who comes back when it was told gets a token, if nobody was faster.
func TestPerSecondSaysWhen(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		perSecond := math.Exp(rapid.Float64Range(-10, 20).Draw(rt, "log of the rate"))
		gaps := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Minute)), 1, 30).Draw(rt, "gaps")
		synctest.Test(t, func(t *testing.T) {
			l := middleware.PerSecond(perSecond, rapid.IntRange(-1, 5).Draw(rt, "burst"))
			for _, gap := range gaps {
				time.Sleep(time.Duration(gap))
				wait, err := l.Take(t.Context(), "k")
				assert.NoError(rt, err)
				if wait > 0 {
					time.Sleep(wait)
					again, _ := l.Take(t.Context(), "k")
					assert.Zero(rt, again, "after %v", wait)
				}
			}
		})
	})
	for _, r := range []float64{math.Inf(1), math.MaxFloat64} {
		l := middleware.PerSecond(r, 1)
		for range 1000 {
			wait, err := l.Take(t.Context(), "k")
			require.NoError(t, err)
			require.Zero(t, wait)
		}
	}
	for _, r := range []float64{0, -1, math.NaN(), math.Inf(-1)} {
		_, err := middleware.PerSecond(r, 1).Take(t.Context(), "k")
		assert.ErrorContains(t, err, "the rate must be more than 0")
	}
}

var _ middleware.Limiter = (*slow)(nil)

func BenchmarkRateLimit(b *testing.B) {
	h := middleware.RateLimit(middleware.PerSecond(1e12, 1e9), middleware.RateLimitOptions{})(func(context.Context, *bus.Delivery) error { return nil })
	d, ctx := lone("pages", "1"), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if err := h(ctx, d); err != nil {
			b.Fatal(err)
		}
	}
}
