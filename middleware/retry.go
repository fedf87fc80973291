package middleware

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/typedbus/typedbus/bus"
)

// RetryOptions are the knobs of [Retry]. The zero value has the defaults.
type RetryOptions struct {
	Tries  int           // how often the handler is called at most, the first time included; default 3
	Min    time.Duration // the longest first wait, which doubles with every try; default 100ms
	Max    time.Duration // the longest wait; default 2s, and at least Min
	Within time.Duration // all waits together: the one that would exceed it does not begin; default 10s

	// Retryable says whether a failure is worth another try; default every failure is. It is asked about errors without a
	// mark only. It may be called concurrently.
	Retryable func(err error) bool

	// OnRetry, if not nil, is called when a try has failed with err and another follows after wait. try counts from 1. It may
	// be called concurrently.
	OnRetry func(ctx context.Context, d *bus.Delivery, try int, wait time.Duration, err error)
}

// Retry calls a handler that failed again, in place: for what passes within seconds. The waits grow exponentially, with full
// jitter: each is a random time from 0 to its longest.
//
// It stops, and returns the error as it is, when that asks for anything but another try ([bus.Permanent], [bus.Snooze],
// [bus.Pause], [bus.DeadLetter]) or is not Retryable, when the drain begins, and when the context ends. An error that outlasts
// the tries is wrapped, and says how many there were.
//
// While it waits the event keeps its slot and its lease, which is renewed; no attempt is counted. For longer waits let the
// event fail: the back-off of the subscription ([bus.Redeliver]) holds no slot. A batch ([bus.Batched]) is collected anew for
// each try.
//
// Its place is inside a Breaker, which should not be asked again in vain, and outside [Timeout] and [Recover]. It may be used
// for many subscriptions, concurrently.
func Retry(o RetryOptions) bus.Middleware {
	o = o.resolved()
	knobs := fmt.Sprintf("%d tries, waits of up to %v doubling up to %v, full jitter: holds a slot for up to %v besides the tries",
		o.Tries, o.Min, o.Max, o.longest())
	return bus.Describe(bus.Layer{Name: "middleware.Retry", Knobs: knobs}, func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			err := next(ctx, d)
			if err == nil {
				return nil
			}
			return o.again(ctx, d, next, err)
		}
	})
}

func (o RetryOptions) resolved() RetryOptions {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if o.Tries <= 0 {
		o.Tries = 3
	}
	def(&o.Min, 100*time.Millisecond)
	def(&o.Max, 2*time.Second)
	def(&o.Within, 10*time.Second)
	o.Max = max(o.Max, o.Min)
	return o
}

// again tries on after a first failure.
func (o *RetryOptions) again(ctx context.Context, d *bus.Delivery, next bus.Handler, err error) error {
	waits, left := o.waits(), o.Within
	for try := 1; bus.VerdictOf(err).Kind == bus.Failed && ctx.Err() == nil && (o.Retryable == nil || o.Retryable(err)); try++ {
		wait := waits.NextBackOff()
		if left -= wait; try == o.Tries || left < 0 {
			if try == 1 {
				return err
			}
			return fmt.Errorf("after %d tries: %w", try, err)
		}
		if !o.pause(ctx, d, try, wait, err) {
			return err
		}
		if err = next(ctx, d); err == nil {
			return nil
		}
	}
	return err
}

// waits makes the back-off of one delivery. The library's jitter goes both ways: half of the longest wait, plus or minus all
// of it, is a random time from 0 to the longest.
func (o *RetryOptions) waits() backoff.ExponentialBackOff {
	return backoff.ExponentialBackOff{
		InitialInterval:     max(o.Min/2, 1),
		MaxInterval:         max(o.Max/2, 1),
		Multiplier:          2,
		RandomizationFactor: 1,
	}
}

// pause tells who wants to know and waits; false if the waiting is cut off by the drain, or the context's end.
func (o *RetryOptions) pause(ctx context.Context, d *bus.Delivery, try int, wait time.Duration, err error) bool {
	select {
	case <-d.Draining():
		return false
	default:
	}
	if o.OnRetry != nil {
		o.OnRetry(ctx, d, try, wait, err)
	}
	if ob := observerOf(ctx); ob != nil {
		ob.Retried(ctx, d, try, wait, err)
	}
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.Draining():
	case <-ctx.Done():
	}
	return false
}

// longest is what all waits together can come to.
func (o *RetryOptions) longest() time.Duration {
	var sum time.Duration
	wait, left := o.Min, time.Duration(o.Tries-1)
	for ; left > 0 && wait < o.Max && wait < o.Within-sum; left-- {
		sum += wait
		wait += min(wait, o.Max-wait)
	}
	if left > (o.Within-sum)/wait {
		return o.Within
	}
	return sum + left*wait
}
