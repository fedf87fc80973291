package transporttest

import (
	"context"
	"errors"

	"time"

	"github.com/typedbus/typedbus/transport"
)

const (
	saysReceive = "Receive waits for at least one delivery and returns at most limit of them (at least 1)."
	saysCtxEnds = "When ctx ends Receive returns soon: either deliveries and nil, or no delivery and the context's error."
	saysForgets = "Nothing that was leased is forgotten because ctx ended."
)

// soon is how long something may take that waits for nothing.
const soon = 3 * time.Second

var receiveClauses = []clause{
	{"receive-waits", saysReceive, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		got := receiveLater(c, e.Context(), 10)
		e.wait(short)
		select {
		case r := <-got:
			e.broken("nothing was published, and Receive returned %d deliveries and the error %v", len(r.ds), r.err)
		default:
		}
		e.publish(tr, t, "a")
		r := e.outcome(got)
		if r.err != nil || len(r.ds) != 1 || string(r.ds[0].Body) != "a" {
			e.broken("Receive returned %d deliveries and the error %v", len(r.ds), r.err)
		}
	}},

	{"receive-wakes-all", saysReceive, func(e *env) {
		tr, t := e.open(), e.topic("a")
		var waiting []<-chan received
		for range 4 {
			waiting = append(waiting, receiveLater(e.join(tr, t, "g"), e.Context(), 1))
		}
		e.wait(short / 3)
		e.publish(tr, t, "a", "b", "c", "d")
		for i, got := range waiting {
			if r := e.outcome(got); r.err != nil || len(r.ds) != 1 {
				e.broken("consumer %d of 4 that waited got %d deliveries and the error %v", i, len(r.ds), r.err)
			}
		}
	}},

	{"receive-limit", saysReceive, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		want := numbered("m", 40)
		e.publish(tr, t, want...)
		var got []string
		for limit := 1; len(got) < len(want); limit = limit%7 + 1 {
			got = append(got, texts(c.some(limit))...) // some checks the limit
		}
		if missing, extra := difference(want, got); len(missing)+len(extra) > 0 {
			e.broken("missing: %s; twice: %s", few(missing), few(extra))
		}
	}},

	{"receive-limit-mixed", saysReceive, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, numbered("retried", 10)...)
		for _, d := range c.all(10) {
			c.failed(d, 0)
		}
		e.publish(tr, t, numbered("new", 10)...)
		var got []string
		for len(got) < 20 {
			got = append(got, texts(c.some(3))...)
		}
		if missing, extra := difference(append(numbered("new", 10), numbered("retried", 10)...), got); len(missing)+len(extra) > 0 {
			e.broken("missing: %s; twice: %s", few(missing), few(extra))
		}
	}},

	{"receive-cancelled", saysCtxEnds, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		ctx, cancel := context.WithCancel(e.Context())
		got := receiveLater(c, ctx, 10)
		e.wait(short / 3)
		cancel()
		at := time.Now()
		r := e.outcome(got)
		if took := time.Since(at); took > soon {
			e.broken("Receive returned %s after its context had ended", took)
		}
		if len(r.ds) > 0 || !errors.Is(r.err, context.Canceled) {
			e.broken("Receive returned %d deliveries and the error %v", len(r.ds), r.err)
		}
		e.publish(tr, t, "a")
		c.expect("a")
	}},

	{"receive-deadline", saysCtxEnds, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		ctx, cancel := context.WithTimeout(e.Context(), short)
		defer cancel()
		r := e.outcome(receiveLater(c, ctx, 10))
		if len(r.ds) > 0 || !errors.Is(r.err, context.DeadlineExceeded) {
			e.broken("Receive returned %d deliveries and the error %v", len(r.ds), r.err)
		}
	}},

	{"receive-ended-before", saysCtxEnds, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "a")
		ctx, cancel := context.WithCancel(e.Context())
		cancel()
		r := e.outcome(receiveLater(c, ctx, 10))
		if (len(r.ds) > 0) == (r.err != nil) || r.err != nil && !errors.Is(r.err, context.Canceled) {
			e.broken("Receive returned %d deliveries and the error %v", len(r.ds), r.err)
		}
		if r.err != nil {
			c.expect("a")
		}
	}},

	{"receive-forgets-nothing", saysForgets, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		want := numbered("m", 120)
		published := make(chan error, 1)
		e.background.Go(func() { published <- e.trickle(tr, t, want) })
		got := map[string]int{}
		for i, end := 0, time.Now().Add(e.h.Patience); len(got) < len(want); i++ {
			if time.Now().After(end) {
				e.broken("%d of %d messages did not come", len(want)-len(got), len(want))
			}
			ctx, cancel := context.WithTimeout(e.Context(), time.Duration(i%5)*700*time.Microsecond+time.Microsecond)
			ds, err := c.Receive(ctx, 3)
			if err != nil && ctx.Err() == nil {
				e.broken("Receive returned %v", err)
			}
			cancel()
			for _, d := range ds {
				if got[string(d.Body)]++; got[string(d.Body)] > 1 {
					e.broken("%q was delivered twice", d.Body)
				}
				c.counts(d, 1, 0)
				c.done(d)
			}
		}
		e.must("Publish", <-published)
		c.silent()
	}},

	{"receive-leaves-it-to-others", saysForgets, func(e *env) {
		tr, t := e.open(), e.topic("a")
		a, b := e.join(tr, t, "g"), e.join(tr, t, "g")
		for i := range 30 {
			ctx, cancel := context.WithCancel(e.Context())
			other, stop := context.WithCancel(e.Context())
			first := receiveLater(a, ctx, 1)
			e.wait(time.Duration(i%3) * time.Millisecond)
			second := receiveLater(b, other, 1)
			e.wait(time.Duration(i%3) * time.Millisecond)
			if i%2 == 0 {
				e.publish(tr, t, "a")
				cancel() // while it may be about to return with the message
			} else {
				cancel()
				e.publish(tr, t, "a")
			}
			if r := e.outcome(first); len(r.ds) > 0 {
				a.done(r.ds...)
				stop()
				b.done(e.outcome(second).ds...)
			} else {
				b.done(e.outcome(second).ds...)
				stop()
			}
		}
		a.silent()
	}},

	{"receive-after-close", "After Close it returns [ErrClosed].", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "a")
		c.leave()
		for range 2 {
			r := e.outcome(receiveLater(c, e.Context(), 10))
			if len(r.ds) > 0 || !errors.Is(r.err, transport.ErrClosed) {
				e.broken("Receive returned %d deliveries and the error %v", len(r.ds), r.err)
			}
		}
	}},

	{"receipt-unique", "Receipt names this lease to the transport that made it: unique among what its subscription holds.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, numbered("m", 50)...)
		seen := map[string]bool{}
		ds := c.all(50)
		for _, d := range ds[:10] {
			c.failed(d, 0)
		}
		ds = append(ds[10:], c.all(10)...)
		for _, d := range ds {
			if d.Receipt == "" || seen[d.Receipt] {
				e.broken("two deliveries have the receipt %q", d.Receipt)
			}
			seen[d.Receipt] = true
		}
	}},

	{"receipt-enough", "Receipt names this lease to the transport that made it: unique among what its subscription holds.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "a", "b")
		for _, d := range c.all(2) {
			other := *d
			other.Message = &transport.Message{ID: "changed on its way through the handlers"}
			c.done(&other)
		}
		c.leave()
		e.join(tr, t, "g").silent()
	}},
}

// A received is what one Receive returned.
type received struct {
	ds  []*transport.Delivery
	err error
}

// receiveLater calls Receive in the background.
func receiveLater(c *consumer, ctx context.Context, limit int) <-chan received {
	got := make(chan received, 1)
	c.background.Go(func() {
		ds, err := c.Receive(ctx, limit)
		got <- received{ds, err}
	})
	return got
}

// trickle publishes one message after the other, with short breaks.
func (e *env) trickle(tr transport.Transport, t transport.Topic, bodies []string) error {
	for i, body := range bodies {
		if err := tr.Publish(e.Context(), t, messages(body)); err != nil {
			return err
		}
		pause(e.Context(), time.Duration(i%4)*time.Millisecond)
	}
	return nil
}

// outcome waits for a Receive to return.
func (e *env) outcome(got <-chan received) received {
	e.Helper()
	select {
	case r := <-got:
		return r
	case <-time.After(e.h.Patience):
		e.broken("Receive did not return in %s", e.h.Patience)
	}
	return received{}
}
