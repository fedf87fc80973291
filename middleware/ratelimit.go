package middleware

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/typedbus/typedbus/bus"
)

// RateLimitOptions are the knobs of [RateLimit]. The zero value has the defaults.
type RateLimitOptions struct {
	// MaxWait is how long an event waits for its token in the slot that it has; default 1s, negative: not at all.
	MaxWait time.Duration
	// Key says what the limit is for; default the topic and the group, as "orders.placed/billing". Subscriptions that share a
	// limit need the same key.
	Key func(*bus.Delivery) string
	// FailOpen handles events without a token while the limiter cannot be asked, instead of pausing.
	FailOpen bool
}

// RateLimit lets a handler begin only with a token of l, so that what it calls is not asked too often. An event over the limit
// first waits in its slot, and then returns [bus.Pause]: the subscription stops receiving until there may be a token. It never
// fails, and loses no attempt; the drain ends its waiting. So does a limiter that cannot be asked, for a second at a time, unless
// FailOpen is set.
//
// The whole subscription waits, whatever the key. To let the events of other keys go on there is [Throttle].
//
// Put it outside [Timeout], which would count the waiting, and inside what an event may end at. It may be used for many
// subscriptions, concurrently. With a nil limiter Run of the bus returns an error.
func RateLimit(l Limiter, o RateLimitOptions) bus.Middleware {
	if l == nil {
		return nil // reported by Run
	}
	if o.MaxWait == 0 {
		o.MaxWait = time.Second
	}
	return bus.Describe(bus.Layer{Name: "middleware.RateLimit", Knobs: o.knobs(l)}, func(next bus.Handler) bus.Handler {
		r := &rateLimit{limiter: l, o: o, turn: make(chan struct{}, 1)}
		return func(ctx context.Context, d *bus.Delivery) error {
			key := r.key(d)
			if wait, err := l.Take(ctx, key); wait > 0 || err != nil {
				if err := r.over(ctx, d, key, wait, err); err != nil {
					return err
				}
			}
			return next(ctx, d)
		}
	})
}

func (o RateLimitOptions) knobs(l Limiter) string {
	knobs := fmt.Sprintf("waits up to %v, then pauses", max(o.MaxWait, 0))
	if s, ok := l.(fmt.Stringer); ok {
		knobs = s.String() + ", " + knobs
	}
	if o.FailOpen {
		knobs += ", open while the limiter is away"
	}
	return knobs
}

// rateLimit is what one subscription needs.
type rateLimit struct {
	limiter Limiter
	o       RateLimitOptions
	turn    chan struct{} // held by the one who waits for the next token, so that the others do not ask in vain
	latest  atomic.Pointer[groupKey]
}

var (
	errOverLimit      = errors.New("middleware: over the rate limit")
	errStoppedWaiting = errors.New("middleware: over the rate limit, and told to stop waiting")
)

// limiterAway is how long to wait for a limiter that cannot be asked.
const limiterAway = time.Second

// over waits for a token; nil means that there is one.
func (r *rateLimit) over(ctx context.Context, d *bus.Delivery, key string, wait time.Duration, err error) error {
	if err != nil {
		return r.away(ctx, err)
	}
	if wait > r.o.MaxWait {
		return bus.Pause(wait, errOverLimit)
	}
	begun := time.Now()
	mine, stopped := await(ctx, d, r.o.MaxWait, r.turn)
	if stopped != nil {
		return stopped
	}
	if !mine {
		return bus.Pause(wait, errOverLimit)
	}
	defer func() { <-r.turn }()
	return r.next(ctx, d, key, wait-time.Since(begun), begun.Add(r.o.MaxWait))
}

// next waits for the next token.
func (r *rateLimit) next(ctx context.Context, d *bus.Delivery, key string, wait time.Duration, until time.Time) error {
	for {
		if wait > time.Until(until) {
			return bus.Pause(wait, errOverLimit)
		}
		if _, stopped := await(ctx, d, wait, nil); stopped != nil {
			return stopped
		}
		var err error
		if wait, err = r.limiter.Take(ctx, key); err != nil {
			return r.away(ctx, err)
		}
		if wait <= 0 {
			return nil
		}
	}
}

// await waits for the turn or until wait is over. It is stopped by the drain, or because the event is wanted no more.
func await(ctx context.Context, d *bus.Delivery, wait time.Duration, turn chan<- struct{}) (mine bool, stopped error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case turn <- struct{}{}:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-d.Draining():
	case <-ctx.Done():
	}
	return false, bus.Snooze(0, errStoppedWaiting)
}

// away is what becomes of an event whose limiter cannot be asked; nil means that it is handled.
func (r *rateLimit) away(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return bus.Snooze(0, errStoppedWaiting)
	case r.o.FailOpen:
		return nil
	}
	return bus.Pause(limiterAway, fmt.Errorf("middleware: the rate limiter cannot be asked: %v", err))
}

// groupKey is the default key of a subscription, kept so that it is made once.
type groupKey struct{ topic, group, text string }

func (r *rateLimit) key(d *bus.Delivery) string {
	if r.o.Key != nil {
		return r.o.Key(d)
	}
	k := r.latest.Load()
	if k == nil || k.topic != d.Topic || k.group != d.Group {
		k = &groupKey{d.Topic, d.Group, d.Topic + "/" + d.Group}
		r.latest.Store(k)
	}
	return k.text
}
