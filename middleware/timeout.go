package middleware

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/typedbus/typedbus/bus"
)

// Timeout ends the context of what is inside after limit, with a [*TimeoutError] as its cause. Zero or less is no limit.
//
// A handler that does not return then is waited for, because a second try beside a first that still runs would be worse. It
// is reported once, at Error, when it has not returned a tenth of limit later, and at least a second later, and at Warn when
// it returns at last. It cannot hold up everything for ever: the drain waits for [bus.Grace], and [bus.MaxProcessing] ends its
// lease.
//
// What is returned in time passes unchanged, and so does what asks for anything but another try. A failure that comes after
// the limit is wrapped in a [*TimeoutError], so that who reads it sees the limit.
//
// Of an event that waits in a batch ([bus.Batched]) the waiting counts too: let limit be a good deal more than the batch's wait and
// the time that its handler takes.
//
// Its place is inside [Retry], so that each try has the limit for itself. log is where it reports; nil is [slog.Default]. It
// may be used for many subscriptions, concurrently.
func Timeout(limit time.Duration, log *slog.Logger) bus.Middleware {
	layer := bus.Layer{Name: "middleware.Timeout", Knobs: "no limit"}
	if limit <= 0 {
		return bus.Describe(layer, func(next bus.Handler) bus.Handler { return next })
	}
	t := &timeout{limit: limit, late: lateAfter(limit), log: cmp.Or(log, slog.Default()), cause: &TimeoutError{Limit: limit}}
	layer.Knobs = fmt.Sprintf("each try at most %v, reported after %v", limit, t.late)
	return bus.Describe(layer, t.handle)
}

// lateAfter is when a handler that has not returned is reported.
func lateAfter(limit time.Duration) time.Duration {
	return limit + min(max(limit/10, time.Second), math.MaxInt64-limit)
}

// A TimeoutError says that a handler took longer than the limit of its [Timeout]. Alone it is the cause of the handler's
// context and wraps [context.DeadlineExceeded]; with an Err it wraps what the handler returned.
type TimeoutError struct {
	Limit time.Duration
	Err   error // what the handler returned; nil in the cause of its context
}

func (e *TimeoutError) Error() string {
	s := fmt.Sprintf("middleware: handler took longer than %v", e.Limit)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *TimeoutError) Unwrap() error { return cmp.Or(e.Err, context.DeadlineExceeded) }

type timeout struct {
	limit, late time.Duration
	log         *slog.Logger
	cause       error
}

func (t *timeout) handle(next bus.Handler) bus.Handler {
	w := &lateWatch{after: t.late - t.limit}
	return func(ctx context.Context, d *bus.Delivery) error {
		c := &limited{Context: ctx, timeout: t, delivery: d, watch: w, deadline: time.Now().Add(t.limit)}
		w.add(c)
		defer c.end()
		err := next(c, d)
		if err == nil {
			return nil
		}
		return c.explain(err)
	}
}

// limited is a handler's context. It makes the context that ends at the deadline when it is first asked for its end: a context
// with a timer in a tree of contexts costs more than all the rest of the chain, and many handlers never ask.
type limited struct {
	context.Context // without the limit
	*timeout
	delivery *bus.Delivery
	deadline time.Time
	watch    *lateWatch

	prev, next *limited // guarded by the watch, like reported
	reported   bool

	mu     sync.Mutex
	ending context.Context // nil until asked for
	cancel context.CancelFunc
	ended  bool // the handler has returned
}

func (c *limited) Deadline() (time.Time, bool) {
	if d, ok := c.Context.Deadline(); ok && d.Before(c.deadline) {
		return d, true
	}
	return c.deadline, true
}

func (c *limited) Done() <-chan struct{} { return c.made().Done() }
func (c *limited) Err() error            { return c.made().Err() }

// Value asks the context with the end once there is one: package context looks there for its cause and its children.
func (c *limited) Value(key any) any {
	c.mu.Lock()
	inner := c.ending
	c.mu.Unlock()
	if inner == nil {
		inner = c.Context
	}
	return inner.Value(key)
}

// String keeps those who print contexts from reading what is guarded.
func (c *limited) String() string { return fmt.Sprintf("%v.Timeout(%v)", c.Context, c.limit) }

func (c *limited) made() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending == nil {
		c.ending, c.cancel = context.WithDeadlineCause(c.Context, c.deadline, c.cause)
		if c.ended {
			c.cancel()
		}
	}
	return c.ending
}

// end is called however the handler ends.
func (c *limited) end() {
	if c.watch.remove(c) {
		c.log.LogAttrs(c.Context, slog.LevelWarn, "handler returned at last", c.facts()...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}

func (c *limited) reportLate() {
	c.log.LogAttrs(c.Context, slog.LevelError, "handler ignores its context; its slot stays taken until it returns", c.facts()...)
}

func (c *limited) facts() []slog.Attr {
	began := c.deadline.Add(-c.limit)
	return append(deliveryFacts(c.delivery),
		slog.Duration("limit", c.limit), slog.Duration("running", time.Since(began).Round(time.Millisecond)))
}

// deliveryFacts name a delivery in the log, with the words of the bus.
func deliveryFacts(d *bus.Delivery) []slog.Attr {
	return []slog.Attr{slog.String("topic", d.Topic), slog.String("group", d.Group), slog.String("id", d.ID), slog.Int("attempt", d.Attempt)}
}

// explain tells of the limit where it may be the reason of a failure.
func (c *limited) explain(err error) error {
	if time.Now().Before(c.deadline) || bus.CutShort(c.Context) || bus.VerdictOf(err).Kind != bus.Failed || errors.Is(err, c.cause) {
		return err
	}
	return &TimeoutError{Limit: c.limit, Err: err}
}
