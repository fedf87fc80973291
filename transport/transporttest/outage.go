package transporttest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const saysAway = "While the broker is away Receive returns such an error instead of trying for ever, and it works again when the broker is back."

// outage makes the broker unreachable until heal is called, at the latest at the end of the clause.
func (e *env) outage() (heal func()) {
	e.Helper()
	e.needs(e.broker.Outage != nil, "Outage")
	heal = sync.OnceFunc(e.broker.Outage())
	e.Cleanup(heal)
	return heal
}

// recovers receives until it has n deliveries, passing over errors.
func (c *consumer) recovers(n int) (ds []*transport.Delivery) {
	c.Helper()
	ctx, cancel := c.patient()
	defer cancel()
	for len(ds) < n {
		got, err := c.Receive(ctx, n-len(ds))
		switch {
		case ctx.Err() != nil || errors.Is(err, transport.ErrClosed):
			c.broken("the broker is back, and %d of %d messages came: %v", len(ds), n, err)
		case err != nil:
			c.wait(50 * time.Millisecond)
		}
		ds = append(ds, got...)
	}
	return ds
}

// comes receives and settles what comes within a time, passing over errors.
func (c *consumer) comes(within time.Duration) (ds []*transport.Delivery) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), within)
	defer cancel()
	for ctx.Err() == nil {
		got, err := c.Receive(ctx, 10)
		if err != nil && ctx.Err() == nil {
			c.wait(50 * time.Millisecond)
		}
		c.done(got...)
		ds = append(ds, got...)
	}
	return ds
}

var outageClauses = []clause{
	{"outage-receive", saysAway, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "before")
		c.done(c.one())
		heal := e.outage()
		ctx, cancel := e.patient()
		defer cancel()
		if ds, err := c.Receive(ctx, 1); err == nil || ctx.Err() != nil || errors.Is(err, transport.ErrClosed) {
			e.broken("while the broker was away Receive returned %d deliveries and the error %v", len(ds), err)
		}
		heal()
		e.eventually("Publish did not work again", func() bool { return tr.Publish(e.Context(), t, messages("after")) == nil })
		c.done(c.recovers(1)...)
	}},

	{"outage-publish", "A message whose outcome is stored or not stored is exactly that; Publish never repeats one by itself.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "before")
		c.done(c.one())
		heal := e.outage()
		ms := messages(numbered("m", 3)...)
		ctx, cancel := context.WithTimeout(e.Context(), soon)
		defer cancel()
		outcomes := e.outcomes(tr.Publish(ctx, t, ms), len(ms))
		heal()
		e.eventually("Publish did not work again", func() bool { return tr.Publish(e.Context(), t, messages("last")) == nil })
		got := map[string]int{}
		for _, d := range c.comes(soon) {
			got[d.ID]++
		}
		for i, m := range ms {
			if n := got[m.ID]; n > 1 || outcomes[i] == transport.NotStored && n > 0 || outcomes[i] == transport.Stored && n == 0 {
				e.broken("the outcome of message %d is %q, and it came %d times", i, outcomes[i], n)
			}
		}
	}},

	{"outage-unknown", "It wraps its cause, and [ErrPublishUnknown] if an outcome is Unknown.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		e.publish(tr, t, "before")
		e.outage()
		ctx, cancel := context.WithTimeout(e.Context(), soon)
		defer cancel()
		err := tr.Publish(ctx, t, messages("a"))
		if err == nil {
			e.broken("the broker was away, and Publish returned nil")
		}
		if unknown := e.outcomes(err, 1)[0] == transport.Unknown; unknown != errors.Is(err, transport.ErrPublishUnknown) {
			e.broken("an outcome is unknown: %v; the error: %v", unknown, err)
		}
	}},

	{"outage-settle", "Otherwise it returns a [*SettleError] that tells which are not ended and why; those stay leased and may be settled again.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "a", "b")
		ds := c.all(2)
		heal := e.outage()
		ss := []transport.Settlement{{Delivery: ds[0], Verdict: transport.Done}, {Delivery: ds[1], Verdict: transport.Failed}}
		ctx, cancel := context.WithTimeout(e.Context(), soon)
		defer cancel()
		if err := c.Settle(ctx, ss); err == nil {
			e.broken("the broker was away, and Settle returned nil")
		} else {
			e.settleErrs(err, 2)
		}
		heal()
		e.eventually("Settle did not work again", func() bool { return c.try(ss...) == nil })
		d := c.recovers(1)[0]
		if string(d.Body) != "b" {
			e.broken("%q came again", d.Body)
		}
		c.counts(d, 2, 0)
	}},

	{"outage-warns", "Warn, if not nil, is called with what an operator should know and no call returns: a [*LossError], or that leases cannot be renewed.", func(e *env) {
		c := warnedOf(e)
		if len(c.warned) == 0 {
			e.broken("the broker was away for four leases, and nobody was warned")
		}
	}},

	{"outage-warns-once", "It says so once per event, not once per try.", func(e *env) {
		c := warnedOf(e)
		seen := map[string]bool{}
		for len(c.warned) > 0 {
			text := (<-c.warned).Error()
			if seen[text] {
				e.broken("it was called twice with: %s", text)
			}
			seen[text] = true
		}
	}},

	{"outage-close", "If the broker cannot be reached Close returns an error, and the leases run out by themselves.", func(e *env) {
		tr, other, t := e.open(), e.open(), e.topic("a")
		c := e.joinLeased(tr, t, "g")
		e.publish(tr, t, "a")
		c.one()
		heal := e.outage()
		ctx, cancel := context.WithTimeout(e.Context(), soon)
		defer cancel()
		if err := c.Close(ctx); err == nil {
			e.broken("the broker was away, and Close returned nil")
		}
		heal()
		var again *consumer
		e.eventually("Subscribe did not work again", func() bool {
			sub, err := other.Subscribe(e.Context(), t, transport.Group{Name: "g", Lease: e.h.Lease})
			again = &consumer{env: e, Subscription: sub}
			return err == nil
		})
		if d := again.recovers(1)[0]; string(d.Body) != "a" {
			e.broken("%q came", d.Body)
		}
	}},
}

// warnedOf has a consumer hold a delivery through an outage of four leases.
func warnedOf(e *env) *consumer {
	e.Helper()
	tr, t := e.open(), e.topic("a")
	c := e.joinLeased(tr, t, "g")
	e.publish(tr, t, "a")
	c.one()
	heal := e.outage()
	e.wait(4 * e.h.Lease)
	heal()
	c.recovers(1)
	return c
}
