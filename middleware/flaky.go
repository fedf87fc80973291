package middleware

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"

	"github.com/typedbus/typedbus/bus"
)

// ErrFlaky is what [Flaky] fails with.
var ErrFlaky = errors.New("middleware: flaky: failed on purpose, for a test")

// Flaky is for tests: it fails deliveries at random with [ErrFlaky], some before what is inside was called and some after it
// ended well, as if the acknowledgement had been lost. rate is the part that fails, from 0 (none) to 1 (all). Errors of what
// is inside pass.
//
// Whether and how a delivery fails follows from the seed, the event's id, and which attempt, redelivery and replay it is, so that
// a test that fails can be run again, whatever runs concurrently. For the same reason another try in place ([Retry] outside of
// it) fails again.
//
// It may be used for many subscriptions, concurrently.
func Flaky(seed uint64, rate float64) bus.Middleware {
	layer := bus.Layer{Name: "middleware.Flaky", Knobs: fmt.Sprintf("for tests: fails %.3g%%, seed %d", 100*rate, seed)}
	return bus.Describe(layer, func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			fails, after := chance(seed, rate, d)
			if fails && !after {
				return ErrFlaky
			}
			if err := next(ctx, d); err != nil || !fails {
				return err
			}
			return ErrFlaky
		}
	})
}

func chance(seed uint64, rate float64, d *bus.Delivery) (fails, after bool) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %d ", d.Attempt, d.Redelivered, d.Replays)
	io.WriteString(h, d.ID)
	r := rand.New(rand.NewPCG(seed, h.Sum64()))
	return r.Float64() < rate, r.IntN(2) == 1
}
