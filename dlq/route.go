package dlq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// The reasons that [Route] gives. Handlers may give others, see [bus.DeadLetter].
const (
	Crashed     = "crashed"      // too many deliveries without an outcome
	Expired     = "expired"      // too old, or its time was over
	Exhausted   = "exhausted"    // too many failed attempts
	DecodeError = "decode_error" // the body is not what the topic's codec reads
	Permanent   = "permanent"    // the handler said so
)

// RouteOptions are the settings of [Route]. The zero value is ready.
type RouteOptions struct {
	// MaxAttempts is how often an event may fail; default 5, negative: no limit. Only what is returned as a plain error, or
	// panics, counts; tries of a Retry inside are one attempt.
	MaxAttempts int
	// MaxCrashes is how often an event may be delivered without an outcome, because the process died or the lease was lost;
	// default 5, negative: no limit. This is looked at before anything is called or decoded, so that an event which kills the
	// process ends here. It counts over the whole life of a delivery, and for whatever the process held when it died. On Redis
	// the neighbours of a deadly event are safe with 3 or more: what was delivered twice without an outcome is given to a process
	// one at a time, so that from its third delivery on a deadly event dies alone. Only a neighbour that is held in as many
	// deaths for which other deadly events are to blame may still go, or where a machine kills processes again and again whatever
	// they do. With 1 or 2 all that a process held goes with it. A replay gives all tries again.
	MaxCrashes int
	// MaxAge is how long after it was stored an event is still worth handling, by the broker's clock against the local one;
	// default 0: no limit. Who replays a letter says that it still is, however old. See also [Expires].
	MaxAge time.Duration
	// Redact rewrites error texts before they are kept, to take out what must not be; default: as they are. It may be called
	// concurrently. If it panics no text is kept.
	Redact func(string) string
	// OnDead, if not nil, is called after the letter of an event was stored, once for each Route that it passed; err has the
	// text that the letter keeps, or is nil. It is called as bus.Delivery.OnSettled says, so concurrently, and not at all if the
	// process dies in between: to count letters ask [Queue.Count].
	OnDead func(ctx context.Context, d *bus.Delivery, reason string, err error)
}

// Route is middleware that sends to the group's dead letters what cannot be handled, in one step with the acknowledgement:
//
//   - before anything is called: what crashed too often, expired, or has used up its attempts;
//   - what was returned as [bus.Permanent], an undecodable body among it. The reason is [DecodeError], or what an error
//     in the tree with a method Reason() string says in one word, or [Permanent];
//   - what fails or panics at its last attempt. A handler that was cut short by the drain, or lost its lease, has not failed.
//
// All else passes unchanged: [bus.Snooze], [bus.Pause] and [bus.DeadLetter] say by themselves what is to happen. A replayed
// letter begins again with its first attempt.
//
// Its place is outside of everything that can fail, see package middleware. The value may be used for many subscriptions.
func Route(o RouteOptions) bus.Middleware {
	o.MaxAttempts = cmp.Or(o.MaxAttempts, 5)
	o.MaxCrashes = cmp.Or(o.MaxCrashes, 5)
	layer := bus.Layer{Name: "dlq.Route", Knobs: o.words(), Route: true}
	return bus.Describe(layer, func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			if reason, err := o.refuse(d); err != nil {
				return o.dead(d, reason, err)
			}
			err := guarded(ctx, d, next)
			if err == nil {
				return nil
			}
			return o.judge(ctx, d, err)
		}
	})
}

func (o *RouteOptions) words() string {
	times := func(n int, what string) string {
		if n < 0 {
			return "any number of " + what
		}
		return fmt.Sprintf("at most %d %s", n, what)
	}
	s := times(o.MaxAttempts, "attempts") + ", " + times(o.MaxCrashes, "crashes")
	if o.MaxAge > 0 {
		s += fmt.Sprintf(", %v old", o.MaxAge)
	}
	return s
}

// refuse says why an event is not to be handled any more, nil if it is.
func (o *RouteOptions) refuse(d *bus.Delivery) (reason string, err error) {
	if o.MaxCrashes > 0 && d.Redelivered >= o.MaxCrashes {
		return Crashed, fmt.Errorf("%d deliveries ended without an outcome: the process died, or the lease was lost", d.Redelivered)
	}
	maxAge := o.MaxAge
	if d.Replays > 0 {
		maxAge = 0 // and an edit can take the header of Expires away, but not the age
	}
	if err := expired(d.Message, maxAge); err != nil {
		return Expired, err
	}
	// An attempt that judge has not seen the end of: its handler ended its goroutine, or did not return in time.
	if o.MaxAttempts > 0 && d.Attempt > o.MaxAttempts {
		return Exhausted, fmt.Errorf("%d attempts failed, and %d are allowed; what the last one died of is not known",
			d.Attempt-1, o.MaxAttempts)
	}
	return "", nil
}

// guarded turns a panic into an error, so that it counts like one. A handler that ends its goroutine cannot be held up: the
// bus counts it, and refuse looks at the count.
func guarded(ctx context.Context, d *bus.Delivery, next bus.Handler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &bus.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return next(ctx, d)
}

// judge returns err, or what it comes to.
func (o *RouteOptions) judge(ctx context.Context, d *bus.Delivery, err error) error {
	switch v := bus.VerdictOf(err); v.Kind {
	case bus.PermanentlyFailed:
		return o.dead(d, reasonOf(err), err)
	case bus.Failed:
		if o.MaxAttempts > 0 && d.Attempt >= o.MaxAttempts && !bus.CutShort(ctx) {
			return o.dead(d, Exhausted, err)
		}
	case bus.DeadLettered:
		kept := v.Err
		if o.Redact != nil && kept != nil {
			kept = o.kept(kept)
			err = bus.DeadLetter(v.Reason, kept)
		}
		o.tell(d, v.Reason, kept)
	}
	return err
}

// reasonOf names a permanent failure.
func reasonOf(err error) string {
	if errors.Is(err, bus.ErrUndecodable) {
		return DecodeError
	}
	var says interface{ Reason() string }
	if errors.As(err, &says) {
		if r := says.Reason(); len(r) <= maxReason && transport.ValidHeaderName(r) { // one word, as a label of metrics needs it
			return r
		}
	}
	return Permanent
}

const maxReason = 64

func (o *RouteOptions) dead(d *bus.Delivery, reason string, err error) error {
	err = o.kept(err)
	o.tell(d, reason, err)
	return bus.DeadLetter(reason, err)
}

func (o *RouteOptions) tell(d *bus.Delivery, reason string, err error) {
	if o.OnDead == nil {
		return
	}
	d.OnSettled(func(ctx context.Context, v transport.Verdict, settling error) {
		if v == transport.Dead && settling == nil {
			o.OnDead(ctx, d, reason, err)
		}
	})
}

// keptError is an error with the text that its letter keeps.
type keptError struct {
	text string
	err  error
}

func (e *keptError) Error() string { return e.text }
func (e *keptError) Unwrap() error { return e.err }

// kept gives an error the text for its letter. It wraps err for those outside who look for a *bus.PanicError or the like,
// unless err carries a verdict: that must not show through.
func (o *RouteOptions) kept(err error) error {
	k := &keptError{text: shorten(o.redact(err.Error()))}
	if bus.VerdictOf(err).Kind == bus.Failed {
		k.err = err
	}
	return k
}

func (o *RouteOptions) redact(text string) (redacted string) {
	if o.Redact == nil {
		return text
	}
	defer func() {
		if recover() != nil {
			redacted = "(no text: Redact panicked)"
		}
	}()
	return o.Redact(text)
}
