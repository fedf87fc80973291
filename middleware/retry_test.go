package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/memory"
)

// failing is a handler that fails n times, and counts its calls.
func failing(n int, calls *int) bus.Handler {
	return func(context.Context, *bus.Delivery) error {
		if *calls++; *calls <= n {
			return errBroken
		}
		return nil
	}
}

func TestRetryUntilItEndsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls int
		require.NoError(t, middleware.Retry(middleware.RetryOptions{})(failing(2, &calls))(t.Context(), oneDelivery("1")))
		assert.Equal(t, 3, calls, "the default is three tries")
		assert.LessOrEqual(t, time.Since(startOfBubble), 300*time.Millisecond, "at most 100ms and 200ms of waiting")
	})
}

var startOfBubble = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestRetryGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls int
		err := middleware.Retry(middleware.RetryOptions{Tries: 5})(failing(9, &calls))(t.Context(), oneDelivery("1"))
		assert.Equal(t, 5, calls)
		require.ErrorIs(t, err, errBroken)
		assert.EqualError(t, err, "after 5 tries: broken")
		assert.Equal(t, bus.Failed, bus.VerdictOf(err).Kind)
	})
}

func TestRetryOfOneTryChangesNothing(t *testing.T) {
	var calls int
	err := middleware.Retry(middleware.RetryOptions{Tries: 1})(failing(9, &calls))(t.Context(), oneDelivery("1"))
	assert.True(t, err == errBroken)
	assert.Equal(t, 1, calls)
}

// TestRetryStopsAtAMark, at once, and passes it untouched: the first time and later.
func TestRetryStopsAtAMark(t *testing.T) {
	for _, o := range everyOutcome {
		if o.kind == bus.Failed {
			continue
		}
		for before := range 2 {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				err := middleware.Retry(middleware.RetryOptions{})(func(context.Context, *bus.Delivery) error {
					if calls++; calls <= before {
						return errBroken
					}
					return o.err
				})(t.Context(), oneDelivery("1"))
				assert.True(t, err == o.err, o.name)
				assert.Equal(t, before+1, calls, o.name)
			})
		}
	}
}

func TestRetryStopsAtWhatIsNotRetryable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		final := errors.New("final")
		calls := 0
		err := middleware.Retry(middleware.RetryOptions{Retryable: func(err error) bool { return err != final }})(
			func(context.Context, *bus.Delivery) error {
				if calls++; calls == 2 {
					return final
				}
				return errBroken
			})(t.Context(), oneDelivery("1"))
		assert.True(t, err == final)
		assert.Equal(t, 2, calls)
	})
}

func TestRetryStopsWhenTheContextHasEnded(t *testing.T) {
	for _, cause := range []error{bus.ErrDraining, bus.ErrLeaseLost, context.DeadlineExceeded} {
		var calls int
		o := middleware.RetryOptions{OnRetry: func(context.Context, *bus.Delivery, int, time.Duration, error) { assert.Fail(t, "no wait begins") }}
		err := middleware.Retry(o)(failing(9, &calls))(ended(t, cause), oneDelivery("1"))
		assert.True(t, err == errBroken)
		assert.Equal(t, 1, calls)
	}
}

func TestRetryStopsWaitingWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var calls int
		// Of 50 waits of up to an hour one takes longer than a millisecond.
		err := middleware.Retry(middleware.RetryOptions{Tries: 50, Min: time.Hour, Max: time.Hour, Within: 100 * time.Hour})(failing(99, &calls))(ctx, oneDelivery("1"))
		assert.True(t, err == errBroken)
		assert.Equal(t, time.Millisecond, time.Since(startOfBubble))
		assert.Less(t, calls, 50)
	})
}

// TestRetryStopsWaitingWhenTheDrainBegins: the events fail as they would have, and the drain does not take its grace.
func TestRetryStopsWaitingWhenTheDrainBegins(t *testing.T) {
	onABus(t, func(t *testing.T, tr *memory.Transport, b *bus.Bus) {
		var told atomic.Int64
		o := middleware.RetryOptions{
			Tries: 1000, Min: time.Hour, Max: time.Hour, Within: 1000 * time.Hour,
			OnRetry: func(context.Context, *bus.Delivery, int, time.Duration, error) { told.Add(1) },
		}
		beads.Subscribe(b, "counting", func(context.Context, *bus.Event[int]) error { return errBroken }, bus.Use(middleware.Retry(o)))
		publishBeads(t, b, 16)
		stop := bustest.Start(t, b)
		<-time.After(time.Second)
		before, begun := told.Load(), time.Now()
		assert.GreaterOrEqual(t, before, int64(16), "all wait for another try")
		stop()
		assert.Zero(t, time.Since(begun), "none waits on")
		assert.Equal(t, before, told.Load(), "nor is another wait announced")

		second := bus.New(tr, bus.Logger(silent))
		var attempts atomic.Int64
		beads.Subscribe(second, "counting", func(_ context.Context, e *bus.Event[int]) error { attempts.Add(int64(e.Attempt)); return nil })
		bustest.Start(t, second)
		bustest.Settle(t, second)
		assert.Equal(t, int64(2*16), attempts.Load(), "each has failed once")
	})
}

// TestRetryBeginsNoWaitInTheDrain: a handler that fails while the bus drains is not tried again.
func TestRetryBeginsNoWaitInTheDrain(t *testing.T) {
	onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
		calls := 0
		o := middleware.RetryOptions{
			OnRetry: func(context.Context, *bus.Delivery, int, time.Duration, error) { assert.Fail(t, "no wait begins") },
		}
		beads.Subscribe(b, "counting", func(context.Context, *bus.Event[int]) error {
			calls++
			<-time.After(5 * time.Second)
			return errBroken
		}, bus.Use(middleware.Retry(o)))
		publishBeads(t, b, 1)
		stop := bustest.Start(t, b)
		synctest.Wait()
		stop()
		assert.Equal(t, 1, calls)
	})
}

func TestRetryAndPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, way := range []func(){func() { panic("ouch") }, runtime.Goexit} {
			calls := 0
			h := middleware.Retry(middleware.RetryOptions{})(func(context.Context, *bus.Delivery) error {
				if calls++; calls == 2 {
					way()
				}
				return errBroken
			})
			var wg sync.WaitGroup
			returned := false
			wg.Go(func() {
				defer func() { _ = recover() }()
				_ = h(t.Context(), oneDelivery("1"))
				returned = true
			})
			wg.Wait()
			assert.False(t, returned, "it passes through a later try too")
			assert.Equal(t, 2, calls)
		}
	})
}

// told is what a hook or an observer was told.
type told struct {
	id   string
	try  int
	wait time.Duration
	err  error
}

type noting struct{ retried *[]told }

func (n noting) Retried(_ context.Context, d *bus.Delivery, try int, wait time.Duration, err error) {
	*n.retried = append(*n.retried, told{d.ID, try, wait, err})
}

func (noting) Duplicate(context.Context, *bus.Delivery, bool) { panic("not of Retry") }

func TestRetryTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var byHook, byObserver []told
		ctx := middleware.Observed(t.Context(), noting{&byObserver})
		hook := noting{&byHook}.Retried
		var calls int
		err := middleware.Retry(middleware.RetryOptions{OnRetry: hook})(failing(9, &calls))(ctx, oneDelivery("17"))
		require.Error(t, err)
		require.Len(t, byHook, 2, "the last failure is followed by none")
		assert.Equal(t, byHook, byObserver)
		var waited time.Duration
		for i, got := range byHook {
			assert.Equal(t, told{"17", i + 1, got.wait, errBroken}, got)
			waited += got.wait
		}
		assert.Equal(t, waited, time.Since(startOfBubble), "it waits as long as it says")
	})
}

// waitsOf lets a handler fail until Retry gives up, and returns the waits.
func waitsOf(t testing.TB, o middleware.RetryOptions) (waits []time.Duration) {
	o.OnRetry = func(_ context.Context, _ *bus.Delivery, _ int, wait time.Duration, _ error) {
		waits = append(waits, wait)
	}
	_ = middleware.Retry(o)(returning(errBroken))(t.Context(), oneDelivery("1"))
	return waits
}

// TestRetryHasFullJitter: each wait is anywhere from 0 to its longest, no part of which is preferred.
func TestRetryHasFullJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const samples = 4000
		steps := make([][]float64, 6)
		for range samples {
			o := middleware.RetryOptions{Tries: 7, Min: 100 * time.Millisecond, Max: time.Second, Within: time.Minute}
			for i, w := range waitsOf(t, o) {
				steps[i] = append(steps[i], w.Seconds())
			}
		}
		for i, longest := range []float64{0.1, 0.2, 0.4, 0.8, 1, 1} {
			slices.Sort(steps[i])
			require.Len(t, steps[i], samples)
			assert.LessOrEqual(t, steps[i][samples-1], longest)
			for j, w := range steps[i] { // Kolmogorov and Smirnov: a chance of 1 in 10^6 to be so far off
				assert.InDelta(t, float64(j)/samples, w/longest, 2.7/math.Sqrt(samples), "step %d, sample %d", i, j)
			}
		}
	})
}

// TestRetryKeepsItsBounds whatever the options are: tries, each wait, and all waits together.
func TestRetryKeepsItsBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		durations := rapid.Map(rapid.Int64Range(-1, int64(10*time.Second)), func(n int64) time.Duration {
			return time.Duration(n) &^ 1 // half of a nanosecond is not to be had
		})
		o := middleware.RetryOptions{
			Tries: rapid.IntRange(-1, 20).Draw(rt, "tries"), Min: durations.Draw(rt, "min"), Max: durations.Draw(rt, "max"),
			Within: durations.Draw(rt, "within"),
		}
		synctest.Test(t, func(t *testing.T) {
			tries, longest, within := positiveOr(o.Tries, 3), positiveOr(o.Min, 100*time.Millisecond), positiveOr(o.Within, 10*time.Second)
			most := max(longest, positiveOr(o.Max, 2*time.Second))
			waits := waitsOf(t, o)
			assert.LessOrEqual(t, len(waits), tries-1)
			var sum time.Duration
			for _, w := range waits {
				assert.GreaterOrEqual(t, w, time.Duration(0))
				assert.LessOrEqual(t, w, longest)
				longest = min(2*longest, most)
				sum += w
			}
			assert.LessOrEqual(t, sum, within)
			assert.LessOrEqual(t, sum, worstOf(t, o), "Explain tells the worst case")
		})
		if t.Failed() {
			rt.FailNow()
		}
	})
}

func positiveOr[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// knobsOf is the line of a middleware in Explain.
func knobsOf(mw bus.Middleware) string {
	b := bus.New(memory.New(), bus.Logger(silent))
	beads.Subscribe(b, "counting", func(context.Context, *bus.Event[int]) error { return nil }, bus.Use(mw))
	for line := range strings.Lines(b.Explain()) {
		if at := strings.Index(line, "middleware."); at >= 0 {
			return strings.TrimSpace(line[at:])
		}
	}
	return ""
}

func worstOf(t testing.TB, o middleware.RetryOptions) time.Duration {
	_, text, _ := strings.Cut(knobsOf(middleware.Retry(o)), "for up to ")
	text, _, _ = strings.Cut(text, " ")
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}

func TestRetryExplains(t *testing.T) {
	assert.Equal(t, "middleware.Retry: 3 tries, waits of up to 100ms doubling up to 2s, full jitter: holds a slot for up to 300ms besides the tries",
		knobsOf(middleware.Retry(middleware.RetryOptions{})))
	for want, o := range map[time.Duration]middleware.RetryOptions{
		0:                       {Tries: 1},
		7100 * time.Millisecond: {Tries: 8, Within: time.Hour}, // 0.1 0.2 0.4 0.8 1.6 2 2
		10 * time.Second:        {Tries: 100},
		time.Hour:               {Tries: math.MaxInt, Min: 1, Max: 1, Within: time.Hour},
		math.MaxInt64:           {Tries: math.MaxInt, Min: math.MaxInt64, Max: math.MaxInt64, Within: math.MaxInt64},
	} {
		assert.Equal(t, want, worstOf(t, o), "%+v", o)
	}
}

// TestRetryPublishesOnlyWhatTheLastTryDid: what failed tries have published through the event is forgotten.
func TestRetryPublishesOnlyWhatTheLastTryDid(t *testing.T) {
	onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
		out := bus.NewTopic("out", codec.JSON[string]())
		tries, got := 0, []string(nil)
		beads.Subscribe(b, "counting", func(ctx context.Context, e *bus.Event[int]) error {
			tries++
			if err := out.Publish(ctx, e, fmt.Sprint("try ", tries)); err != nil || tries == 3 {
				return err
			}
			return errBroken
		}, bus.Use(middleware.Retry(middleware.RetryOptions{})))
		out.Subscribe(b, "reading", func(_ context.Context, e *bus.Event[string]) error { got = append(got, e.Payload); return nil }, bus.Concurrency(1))
		publishBeads(t, b, 1)
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.Equal(t, []string{"try 3"}, got)
	})
}

func TestRetryCostsNothingWithoutAFailure(t *testing.T) {
	assert.Zero(t, allocsOf(t, middleware.Retry(middleware.RetryOptions{})))
}

func BenchmarkRetry(b *testing.B) { costOf(b, middleware.Retry(middleware.RetryOptions{})) }

// BenchmarkRetryOnce is with a first try that fails.
func BenchmarkRetryOnce(b *testing.B) {
	h := middleware.Retry(middleware.RetryOptions{Min: 1, Max: 1})
	costOf(b, func(bus.Handler) bus.Handler {
		calls := 0
		return h(func(context.Context, *bus.Delivery) error {
			if calls++; calls%2 == 1 {
				return errBroken
			}
			return nil
		})
	})
}
