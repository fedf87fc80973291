package middleware

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/typedbus/typedbus/bus"
)

// ThrottleOptions are the knobs of [Throttle]. The zero value has the defaults.
type ThrottleOptions struct {
	Rate float64 // events of one key a second; default 1

	// Burst is how many may come at once after a quiet time; default Rate, rounded up. With 1 the time that each event takes to
	// come back is lost to its key: some milliseconds on Redis.
	Burst int

	// Key says what is throttled by itself; default the event's key. Events with an empty key share one limit. It may be called
	// concurrently.
	Key func(*bus.Delivery) string
}

// Throttle limits the events of each key, so that one customer or device does not take the place of all others. An event over
// the limit returns [bus.Snooze]: it waits for its turn outside, with no slot held and no attempt counted, and the events of
// other keys go on. Turns of a key are one after the other, so that its events do not come back all at once. Order is not kept.
//
// The limit is that of one subscription in one process. An event may come back to another process of the group and needs a
// token there.
//
// Keys that have not been used for so long that they may burst again take no memory.
//
// Put it inside what a duplicate ends at, as [Idempotent], and outside [Retry]. It may be used for many subscriptions, each with
// limits of its own, concurrently.
func Throttle(o ThrottleOptions) bus.Middleware {
	o.Rate = positive(o.Rate, 1)
	o.Burst = positive(o.Burst, int(math.Ceil(min(o.Rate, math.MaxInt32))))
	if o.Key == nil {
		o.Key = func(d *bus.Delivery) string { return d.Key }
	}
	knobs := fmt.Sprintf("by key, %v", newBuckets(o.Rate, o.Burst))
	return bus.Describe(bus.Layer{Name: "middleware.Throttle", Knobs: knobs}, func(next bus.Handler) bus.Handler {
		keys := newBuckets(o.Rate, o.Burst)
		return func(ctx context.Context, d *bus.Delivery) error {
			if wait := keys.turn(o.Key(d)); wait > 0 {
				return bus.Snooze(wait, errThrottled)
			}
			return next(ctx, d)
		}
	})
}

var errThrottled = errors.New("middleware: too many events of this key: it waits for its turn")
