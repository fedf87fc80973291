package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestTimeoutEndsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var cause error
		err := middleware.Timeout(5*time.Second, silent)(func(ctx context.Context, _ *bus.Delivery) error {
			deadline, ok := ctx.Deadline()
			assert.True(t, ok)
			assert.Equal(t, began.Add(5*time.Second), deadline)
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		})(t.Context(), oneDelivery("1"))
		assert.Equal(t, 5*time.Second, time.Since(began))
		assert.EqualError(t, cause, "middleware: handler took longer than 5s")
		require.ErrorIs(t, cause, context.DeadlineExceeded)
		var limit *middleware.TimeoutError
		require.ErrorAs(t, cause, &limit)
		assert.Equal(t, 5*time.Second, limit.Limit)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.EqualError(t, err, "middleware: handler took longer than 5s: context deadline exceeded")
	})
}

// lives are what may become of a handler's context, and what is derived from it. Each returns what it has seen.
var lives = map[string]func(ctx context.Context, endParent context.CancelCauseFunc) []any{
	"never asked": func(ctx context.Context, _ context.CancelCauseFunc) []any { return nil },
	"asked in time": func(ctx context.Context, _ context.CancelCauseFunc) []any {
		return []any{ctx.Err(), context.Cause(ctx)}
	},
	"asked late": func(ctx context.Context, _ context.CancelCauseFunc) []any {
		<-time.After(2 * time.Second)
		return []any{ctx.Err(), context.Cause(ctx)}
	},
	"awaited": func(ctx context.Context, _ context.CancelCauseFunc) []any {
		<-ctx.Done()
		return []any{ctx.Err(), context.Cause(ctx)}
	},
	"the parent ends": func(ctx context.Context, endParent context.CancelCauseFunc) []any {
		endParent(errBroken)
		<-ctx.Done()
		return []any{ctx.Err(), context.Cause(ctx)}
	},
	"the parent ends while it is awaited": func(ctx context.Context, endParent context.CancelCauseFunc) []any {
		time.AfterFunc(time.Millisecond, func() { endParent(errBroken) })
		<-ctx.Done()
		return []any{ctx.Err(), context.Cause(ctx)}
	},
	"a child": func(ctx context.Context, _ context.CancelCauseFunc) []any {
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		<-child.Done()
		return []any{child.Err(), context.Cause(child), ctx.Err()}
	},
	"a child that ends first": func(ctx context.Context, _ context.CancelCauseFunc) []any {
		child, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		<-child.Done()
		return []any{child.Err(), context.Cause(child), ctx.Err()}
	},
	"a child that would end later": func(ctx context.Context, _ context.CancelCauseFunc) []any {
		child, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		deadline, _ := child.Deadline()
		<-child.Done()
		return []any{child.Err(), context.Cause(child), deadline}
	},
	"a child with a value": func(ctx context.Context, _ context.CancelCauseFunc) []any {
		child := context.WithValue(ctx, lifeKey{}, "of the child")
		<-child.Done()
		return []any{child.Err(), context.Cause(child), child.Value(lifeKey{}), ctx.Value(lifeKey{}), ctx.Value("none")}
	},
	"a child without its end": func(ctx context.Context, _ context.CancelCauseFunc) []any {
		child := context.WithoutCancel(ctx)
		<-ctx.Done()
		_, deadline := child.Deadline()
		return []any{child.Err(), context.Cause(child), deadline, child.Value(lifeKey{})}
	},
	"AfterFunc": func(ctx context.Context, _ context.CancelCauseFunc) []any {
		called := make(chan error)
		context.AfterFunc(ctx, func() { called <- context.Cause(ctx) })
		return []any{<-called}
	},
	"AfterFunc, stopped": func(ctx context.Context, _ context.CancelCauseFunc) []any {
		stop := context.AfterFunc(ctx, func() { panic("stopped") })
		stopped := stop()
		<-ctx.Done()
		return []any{stopped, stop()}
	},
}

type lifeKey struct{}

// TestItsContextIsLikeAnyOther: whatever is done with it, it behaves as one that package context has made.
func TestItsContextIsLikeAnyOther(t *testing.T) {
	for name, live := range lives {
		for _, parent := range []time.Duration{0, 500 * time.Millisecond, time.Hour} {
			t.Run(fmt.Sprintf("%s/%v", name, parent), func(t *testing.T) {
				limit := &middleware.TimeoutError{Limit: time.Second}
				want := liveOnce(t, parent, live, func(next bus.Handler) bus.Handler {
					return func(ctx context.Context, d *bus.Delivery) error {
						ctx, cancel := context.WithTimeoutCause(ctx, time.Second, limit)
						defer cancel()
						return next(ctx, d)
					}
				})
				assert.Equal(t, want, liveOnce(t, parent, live, middleware.Timeout(time.Second, silent)))
			})
		}
	}
}

// liveOnce is one life under a parent, which has a deadline of its own unless that is 0, and how it is after the return.
func liveOnce(t *testing.T, parent time.Duration, live func(context.Context, context.CancelCauseFunc) []any, mw bus.Middleware) (seen []any) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), lifeKey{}, "of the parent"))
		defer cancel(nil)
		if parent > 0 {
			var stop context.CancelFunc
			ctx, stop = context.WithTimeout(ctx, parent)
			defer stop()
		}
		var kept context.Context
		_ = mw(func(ctx context.Context, _ *bus.Delivery) error {
			kept = ctx
			deadline, ok := ctx.Deadline()
			seen = append([]any{deadline, ok}, live(ctx, cancel)...)
			return nil
		})(ctx, oneDelivery("1"))
		<-kept.Done()
		seen = append(seen, time.Since(began), kept.Err(), context.Cause(kept))
	})
	return seen
}

func TestAContextKeptBeyondTheReturnHasEnded(t *testing.T) {
	var kept context.Context
	_ = middleware.Timeout(time.Hour, silent)(func(ctx context.Context, _ *bus.Delivery) error { kept = ctx; return nil })(t.Context(), oneDelivery("1"))
	assert.Equal(t, context.Canceled, kept.Err())
	assert.Contains(t, fmt.Sprint(kept), "Timeout(1h0m0s)", "and it can be printed")
}

// TestAFailureAfterTheLimitTellsIt: that of a handler that failed because of it, and not sooner.
func TestAFailureAfterTheLimitTellsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := func(wait time.Duration, err error) error {
			return middleware.Timeout(5*time.Second, silent)(func(context.Context, *bus.Delivery) error {
				time.Sleep(wait)
				return err
			})(t.Context(), oneDelivery("1"))
		}
		assert.True(t, h(5*time.Second-1, errBroken) == errBroken, "in time")
		late := h(5*time.Second, errBroken)
		assert.EqualError(t, late, "middleware: handler took longer than 5s: broken")
		require.ErrorIs(t, late, errBroken)
		require.NoError(t, h(time.Minute, nil), "what is done is done")
		for _, o := range everyOutcome {
			assert.Equal(t, o.kind, bus.VerdictOf(h(time.Minute, o.err)).Kind, "no verdict changes")
			if o.kind != bus.Failed {
				assert.True(t, h(time.Minute, o.err) == o.err, o.name)
			}
		}
	})
}

func TestTheCauseItselfIsNotWrappedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := middleware.Timeout(time.Second, silent)(func(ctx context.Context, _ *bus.Delivery) error {
			<-ctx.Done()
			return fmt.Errorf("call: %w", context.Cause(ctx))
		})(t.Context(), oneDelivery("1"))
		assert.EqualError(t, err, "call: middleware: handler took longer than 1s")
	})
}

func TestCutShortAfterTheLimitPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		err := middleware.Timeout(time.Second, silent)(func(context.Context, *bus.Delivery) error {
			time.Sleep(time.Minute)
			cancel(bus.ErrDraining)
			return errBroken
		})(ctx, oneDelivery("1"))
		assert.True(t, err == errBroken)
	})
}

// TestAHandlerThatIgnoresItsContextIsReported: once, a while after the limit, and again when it is back.
func TestAHandlerThatIgnoresItsContextIsReported(t *testing.T) {
	for limit, late := range map[time.Duration]time.Duration{
		time.Millisecond: time.Second + time.Millisecond,
		5 * time.Second:  6 * time.Second,
		time.Minute:      66 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			var j journal
			handle := func(wait time.Duration) {
				_ = middleware.Timeout(limit, j.logger(slog.LevelDebug))(func(context.Context, *bus.Delivery) error {
					time.Sleep(wait)
					return nil
				})(t.Context(), oneDelivery("17"))
			}
			handle(late - 1)
			time.Sleep(time.Hour)
			assert.Empty(t, j.lines(), "it was back before")
			handle(10 * late)
			synctest.Wait()
			require.Len(t, j.lines(), 2)
			facts := []string{"topic=beads", "group=counting", "id=17", "attempt=1", "limit=" + limit.String()}
			assert.Len(t, j.with(append(facts, "level=ERROR", "ignores its context", "running="+late.String())...), 1, j.lines())
			assert.Len(t, j.with(append(facts, "level=WARN", "returned at last", "running="+(10*late).String())...), 1, j.lines())
		})
	}
}

func TestAHandlerThatPanicsLateIsBackToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		assert.Panics(t, func() {
			_ = middleware.Timeout(time.Second, j.logger(slog.LevelDebug))(func(context.Context, *bus.Delivery) error {
				time.Sleep(time.Minute)
				panic("ouch")
			})(t.Context(), oneDelivery("17"))
		})
		assert.Len(t, j.with("level=WARN", "returned at last"), 1)
	})
}

func TestTheLongestLimitReportsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		_ = middleware.Timeout(math.MaxInt64, j.logger(slog.LevelDebug))(func(ctx context.Context, _ *bus.Delivery) error {
			time.Sleep(time.Hour)
			assert.NoError(t, ctx.Err())
			return nil
		})(t.Context(), oneDelivery("17"))
		assert.Empty(t, j.lines())
	})
}

func TestEachTryHasTheLimitForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		h := middleware.Retry(middleware.RetryOptions{})(middleware.Timeout(time.Second, silent)(func(ctx context.Context, _ *bus.Delivery) error {
			if tries++; tries == 3 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}))
		require.NoError(t, h(t.Context(), oneDelivery("1")))
		assert.Equal(t, 3, tries)
	})
}

// stuckHandler hangs until the test ends, and ignores its context.
func stuckHandler(t *testing.T) bus.HandlerOf[int] {
	release := make(chan struct{})
	t.Cleanup(func() { close(release); synctest.Wait() })
	return func(context.Context, *bus.Event[int]) error {
		<-release
		return nil
	}
}

// TestAStuckHandlerDoesNotHoldUpTheDrain beyond the grace: Run returns and says so, and the event is given back.
func TestAStuckHandlerDoesNotHoldUpTheDrain(t *testing.T) {
	onABus(t, func(t *testing.T, tr *memory.Transport, b *bus.Bus) {
		var j journal
		beads.Subscribe(b, "counting", stuckHandler(t), bus.Use(middleware.Timeout(time.Second, j.logger(slog.LevelDebug))))
		publishBeads(t, b, 1)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- b.Run(ctx) }()
		time.Sleep(time.Minute)
		assert.Len(t, j.with("level=ERROR", "ignores its context"), 1, "it was reported long before")
		cancel()
		begun := time.Now()
		err := <-result
		require.ErrorContains(t, err, "did not return within the grace of 10s")
		assert.LessOrEqual(t, time.Since(begun), 10*time.Second+5*time.Second, "the grace, and what follows it")
		assert.Len(t, j.with("level=ERROR"), 1, "and not again")

		second := bus.New(tr, bus.Logger(silent))
		var got atomic.Int64
		beads.Subscribe(second, "counting", func(context.Context, *bus.Event[int]) error { got.Add(1); return nil })
		bustest.Start(t, second)
		bustest.Settle(t, second)
		assert.Equal(t, int64(1), got.Load())
	}, bus.Grace(10*time.Second))
}

// TestAStuckHandlerDoesNotHoldItsLease beyond MaxProcessing: then another consumer has the event.
func TestAStuckHandlerDoesNotHoldItsLease(t *testing.T) {
	onABus(t, func(t *testing.T, tr *memory.Transport, b *bus.Bus) {
		const longest, lease = time.Minute, 10 * time.Second
		timeout := bus.Use(middleware.Timeout(time.Second, silent))
		beads.Subscribe(b, "counting", stuckHandler(t), bus.MaxProcessing(longest), bus.Lease(lease), bus.Concurrency(1), timeout)
		publishBeads(t, b, 1)
		begun := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- b.Run(ctx) }()
		synctest.Wait()

		second := bus.New(tr, bus.Logger(silent))
		got := make(chan time.Duration, 1)
		beads.Subscribe(second, "counting", func(context.Context, *bus.Event[int]) error {
			got <- time.Since(begun)
			return nil
		}, bus.Lease(lease))
		bustest.Start(t, second)
		after := <-got
		assert.GreaterOrEqual(t, after, longest)
		assert.LessOrEqual(t, after, longest+lease+2*time.Second, "MaxProcessing, a lease, and the back-off")
		cancel()
		require.Error(t, <-result)
	}, bus.Grace(time.Second))
}

func TestTimeoutIsCheap(t *testing.T) {
	assert.LessOrEqual(t, allocsOf(t, middleware.Timeout(time.Hour, silent)), 3.0)
	assert.Zero(t, allocsOf(t, middleware.Timeout(0, silent)))
}

func TestTimeoutErrorUnwraps(t *testing.T) {
	assert.ErrorIs(t, &middleware.TimeoutError{}, context.DeadlineExceeded)
	assert.False(t, errors.Is(&middleware.TimeoutError{Err: errBroken}, context.DeadlineExceeded), "the failure may have another reason")
}

func BenchmarkTimeout(b *testing.B) { costOf(b, middleware.Timeout(time.Minute, silent)) }

// BenchmarkTimeoutLooked is with a handler that asks for its context's end.
func BenchmarkTimeoutLooked(b *testing.B) {
	mw := middleware.Timeout(time.Minute, silent)
	costOf(b, func(bus.Handler) bus.Handler {
		return mw(func(ctx context.Context, _ *bus.Delivery) error { return ctx.Err() })
	})
}

// TestTimeoutAroundABatch: a batch that waits longer than the limit is handled all the same.
func TestTimeoutAroundABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		t.Cleanup(func() { tr.Close() })
		b := bus.New(tr, bus.Logger(silent))
		var handled atomic.Int64
		beads.Subscribe(b, "counting", bus.Batched(100, time.Minute, func(_ context.Context, es []*bus.Event[int]) error {
			handled.Add(int64(len(es)))
			return nil
		}), middleware.Standard(middleware.StandardOptions{}))
		bustest.Start(t, b)
		require.NoError(t, beads.Publish(t.Context(), b, 1))
		time.Sleep(time.Hour)
		st, err := b.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, bus.Counts{Done: 1}, st.Subscriptions[0].Counts)
		assert.EqualValues(t, 1, handled.Load())
	})
}
