package middleware_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/memory"
)

// flaked says what becomes of a delivery: "", "before" or "after".
func flaked(mw bus.Middleware, d *bus.Delivery) string {
	called := false
	err := mw(func(context.Context, *bus.Delivery) error { called = true; return nil })(context.Background(), d)
	switch {
	case err == nil && called:
		return ""
	case err == middleware.ErrFlaky && called:
		return "after"
	case err == middleware.ErrFlaky:
		return "before"
	}
	return fmt.Sprint("unexpected: ", err, called)
}

// TestFlakyFailsAtItsRate, half of the time before and half after: over ids and over the attempts of one id.
func TestFlakyFailsAtItsRate(t *testing.T) {
	const n = 10_000
	for name, delivery := range map[string]func(i int) *bus.Delivery{
		"ids":          func(i int) *bus.Delivery { return oneDelivery(strconv.Itoa(i)) },
		"attempts":     func(i int) *bus.Delivery { d := oneDelivery("1"); d.Attempt = i; return d },
		"redeliveries": func(i int) *bus.Delivery { d := oneDelivery("1"); d.Redelivered = i; return d },
		"replays":      func(i int) *bus.Delivery { d := oneDelivery("1"); d.Replays = i; return d },
	} {
		for _, rate := range []float64{0, 0.1, 0.5, 1} {
			mw := middleware.Flaky(42, rate)
			count := map[string]int{}
			for i := range n {
				count[flaked(mw, delivery(i))]++
			}
			assert.InDelta(t, rate*n/2, count["before"], 0.02*n, "%s, %v", name, rate)
			assert.InDelta(t, rate*n/2, count["after"], 0.02*n, "%s, %v", name, rate)
			assert.Equal(t, n, count["before"]+count["after"]+count[""])
		}
		zero, one := middleware.Flaky(42, 0), middleware.Flaky(42, 1)
		for i := range n {
			assert.Empty(t, flaked(zero, delivery(i)))
			assert.NotEmpty(t, flaked(one, delivery(i)))
		}
	}
}

func TestFlakyIsTheSameAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed, rate, d := rapid.Uint64().Draw(t, "seed"), rapid.Float64Range(0, 1).Draw(t, "rate"), oneDelivery(rapid.String().Draw(t, "id"))
		assert.Equal(t, flaked(middleware.Flaky(seed, rate), d), flaked(middleware.Flaky(seed, rate), d))
	})
}

func TestFlakySeedsDiffer(t *testing.T) {
	same := 0
	for i := range 1000 {
		d := oneDelivery(strconv.Itoa(i))
		if flaked(middleware.Flaky(1, 0.5), d) == flaked(middleware.Flaky(2, 0.5), d) {
			same++
		}
	}
	assert.InDelta(t, 375, same, 75, "a quarter, a sixteenth and a sixteenth by chance")
}

// TestFlakyLetsErrorsPass: also where it would have failed afterwards.
func TestFlakyLetsErrorsPass(t *testing.T) {
	mw := middleware.Flaky(42, 1)
	passed := 0
	for i := range 100 {
		for _, o := range everyOutcome[1:] {
			err := mw(returning(o.err))(t.Context(), oneDelivery(strconv.Itoa(i)))
			if err == o.err {
				passed++
			} else {
				require.True(t, err == middleware.ErrFlaky)
			}
		}
	}
	assert.InDelta(t, 250, passed, 100)
}

// TestFlakyOnABus: every event is handled in the end, some again after it had been.
func TestFlakyOnABus(t *testing.T) {
	onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
		var calls, failures atomic.Int64
		count := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				err := next(ctx, d)
				if err != nil {
					failures.Add(1)
				}
				return err
			}
		}
		beads.Subscribe(b, "counting", func(context.Context, *bus.Event[int]) error { calls.Add(1); return nil },
			bus.Use(count, middleware.Flaky(7, 0.5)))
		publishBeads(t, b, 200)
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.Greater(t, calls.Load(), int64(200))
		assert.Less(t, calls.Load(), 200+failures.Load(), "some failed before they were handled")
	})
}

func BenchmarkFlaky(b *testing.B) { costOf(b, middleware.Flaky(1, 0)) }
