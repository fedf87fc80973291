package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

var errBroken = errors.New("broken")

// everyOutcome is all that a handler can return.
var everyOutcome = []struct {
	name string
	err  error
	kind bus.VerdictKind
}{
	{"handled", nil, bus.Handled},
	{"failed", errBroken, bus.Failed},
	{"snoozed", bus.Snooze(time.Minute, errBroken), bus.Snoozed},
	{"paused", bus.Pause(time.Minute, nil), bus.Paused},
	{"permanent", fmt.Errorf("wrapped: %w", bus.Permanent(errBroken)), bus.PermanentlyFailed},
	{"dead-lettered", bus.DeadLetter("odd", errBroken), bus.DeadLettered},
}

// transparent are the middlewares that change no outcome, as they are set here.
func transparent() map[string]bus.Middleware {
	return map[string]bus.Middleware{
		"Recover":     middleware.Recover(),
		"Timeout":     middleware.Timeout(time.Hour, silent),
		"No Timeout":  middleware.Timeout(0, nil),
		"Log":         middleware.Log(silent),
		"Correlation": middleware.Correlation{}.Handle,
		"Retry":       middleware.Retry(middleware.RetryOptions{Tries: 1}),
		"Retry of what is not retryable": middleware.Retry(middleware.RetryOptions{
			Retryable: func(error) bool { return false },
		}),
		"Duplicator": middleware.Duplicator(),
		"Flaky":      middleware.Flaky(1, 0),
		"Validate":   untyped(middleware.Validate(func(int) error { return nil })),
	}
}

// untyped lets typed middleware be tested beside the others.
func untyped(mw bus.MiddlewareOf[int]) bus.Middleware {
	return func(next bus.Handler) bus.Handler {
		h := mw(func(ctx context.Context, e *bus.Event[int]) error { return next(ctx, e.Delivery) })
		return func(ctx context.Context, d *bus.Delivery) error { return h(ctx, &bus.Event[int]{Delivery: d}) }
	}
}

var silent = slog.New(slog.DiscardHandler)

// oneDelivery is a first attempt that no bus handles.
func oneDelivery(id string, headers ...transport.Header) *bus.Delivery {
	return bus.NewDelivery(&transport.Delivery{
		Message: &bus.Message{ID: id, Key: "k-1", Headers: headers, Body: []byte("1")},
		Topic:   "beads", Group: "counting", Attempt: 1,
	}, new(bustest.Recorder))
}

func returning(err error) bus.Handler {
	return func(context.Context, *bus.Delivery) error { return err }
}

// ended is a context that the engine, or somebody else, has ended.
func ended(t *testing.T, cause error) context.Context {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	return ctx
}

func TestVerdictsPassUnchanged(t *testing.T) {
	for name, mw := range transparent() {
		for _, o := range everyOutcome {
			got := mw(returning(o.err))(t.Context(), oneDelivery("1"))
			assert.True(t, got == o.err, "%s, %s: got %v", name, o.name, got)
			for _, cause := range []error{bus.ErrDraining, bus.ErrLeaseLost} {
				got := mw(returning(o.err))(ended(t, cause), oneDelivery("1"))
				assert.True(t, got == o.err, "%s, %s, cut short: got %v", name, o.name, got)
			}
		}
	}
}

func TestTheDeliveryPassesAsItIs(t *testing.T) {
	for name, mw := range transparent() {
		d := oneDelivery("1", transport.Header{Name: "a", Value: "b"})
		before := d.Message.Clone()
		err := mw(func(_ context.Context, got *bus.Delivery) error {
			assert.Same(t, d, got, name)
			return nil
		})(t.Context(), d)
		require.NoError(t, err, name)
		assert.Equal(t, before, d.Message, name)
	}
}

func TestPanicsPassThrough(t *testing.T) {
	for name, mw := range transparent() {
		if name == "Recover" {
			continue
		}
		h := mw(func(context.Context, *bus.Delivery) error { panic("ouch") })
		for range 2 { // it leaves nothing behind
			assert.PanicsWithValue(t, "ouch", func() { _ = h(t.Context(), oneDelivery("1")) }, name)
		}
	}
}

func TestGoexitPassesThrough(t *testing.T) {
	for name, mw := range transparent() {
		h := mw(func(context.Context, *bus.Delivery) error { runtime.Goexit(); return nil })
		returned := false
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = h(t.Context(), oneDelivery("1"))
			returned = true
		})
		wg.Wait()
		assert.False(t, returned, name)
	}
}

var beads = bus.NewTopic("beads", codec.JSON[int]())

// onABus runs a test in a bubble, with a bus on a memory transport.
func onABus(t *testing.T, f func(t *testing.T, tr *memory.Transport, b *bus.Bus), opts ...bus.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		t.Cleanup(func() { assert.NoError(t, tr.Close()) })
		f(t, tr, bus.New(tr, append([]bus.Option{bus.Logger(silent)}, opts...)...))
	})
}

func publishBeads(t *testing.T, b *bus.Bus, n int) {
	t.Helper()
	vs := make([]int, n)
	for i := range vs {
		vs[i] = i
	}
	require.NoError(t, beads.PublishAll(t.Context(), b, vs))
}

// TestOneValueServesManySubscriptions: every outcome, panics and ended goroutines, all at once.
func TestOneValueServesManySubscriptions(t *testing.T) {
	for name, mw := range transparent() {
		t.Run(name, func(t *testing.T) {
			onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
				var good atomic.Int64
				for _, group := range []string{"a", "b", "c"} {
					beads.Subscribe(b, group, func(_ context.Context, e *bus.Event[int]) error {
						if e.Attempt > 1 || e.Redelivered > 0 {
							good.Add(1)
							return nil
						}
						return misbehave(e.Payload)
					}, bus.Use(mw))
				}
				publishBeads(t, b, 70)
				bustest.Start(t, b)
				bustest.Settle(t, b)
				assert.GreaterOrEqual(t, good.Load(), int64(3*50), "all that failed came again")
			})
		})
	}
}

// misbehave does one of seven things. None of them lets the subscription wait for long.
func misbehave(n int) error {
	switch n % 7 {
	case 1:
		return errBroken
	case 2:
		panic("ouch")
	case 3:
		runtime.Goexit()
	case 4:
		return bus.Permanent(errBroken)
	case 5:
		return bus.DeadLetter("odd", errBroken)
	case 6:
		return fmt.Errorf("again: %w", errBroken)
	}
	return nil
}

// TestADrainWaitsForWhatIsHandled: and no event is lost or counted, whether the handler ends in the grace or is cut short.
func TestADrainWaitsForWhatIsHandled(t *testing.T) {
	for name, mw := range transparent() {
		t.Run(name, func(t *testing.T) {
			onABus(t, func(t *testing.T, tr *memory.Transport, b *bus.Bus) {
				var quick, slow atomic.Int64
				beads.Subscribe(b, "counting", func(ctx context.Context, e *bus.Event[int]) error {
					wait := 5 * time.Second
					if e.Payload%2 == 1 {
						wait = time.Hour
					}
					select {
					case <-time.After(wait):
						quick.Add(1)
						return nil
					case <-ctx.Done():
						slow.Add(1)
						return ctx.Err()
					}
				}, bus.Use(mw))
				publishBeads(t, b, 16)
				stop := bustest.Start(t, b)
				synctest.Wait()
				stop()
				assert.Positive(t, quick.Load())
				assert.Positive(t, slow.Load())

				second := bus.New(tr, bus.Logger(silent))
				beads.Subscribe(second, "counting", func(_ context.Context, e *bus.Event[int]) error {
					assert.Equal(t, 1, e.Attempt, "no attempt is counted")
					slow.Add(-1)
					return nil
				})
				bustest.Start(t, second)
				bustest.Settle(t, second)
				assert.Zero(t, slow.Load(), "what was cut short is given back, and nothing else")
			}, bus.Grace(10*time.Second))
		})
	}
}

// costOf is what a middleware adds to a delivery that is handled.
func costOf(b *testing.B, mw bus.Middleware) {
	b.Helper()
	h, d := mw(returning(nil)), oneDelivery("0190b6a0-1111-7000-8000-000000000001")
	ctx, cancel := context.WithCancelCause(b.Context())
	defer cancel(nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := h(ctx, d); err != nil {
			b.Fatal(err)
		}
	}
}

// allocsOf counts what a delivery allocates that is handled.
func allocsOf(t *testing.T, mw bus.Middleware) float64 {
	t.Helper()
	h, d, ctx := mw(returning(nil)), oneDelivery("1"), t.Context()
	return testing.AllocsPerRun(1000, func() { _ = h(ctx, d) })
}

// journal is a log that a test can read, line by line.
type journal struct {
	mu sync.Mutex
	b  strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) lines() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Collect(strings.Lines(j.b.String()))
}

// with are the lines that contain all of parts.
func (j *journal) with(parts ...string) (found []string) {
	for _, line := range j.lines() {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			found = append(found, line)
		}
	}
	return found
}

func (j *journal) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: level}))
}
