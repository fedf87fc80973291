package transporttest

import (
	"context"
	"errors"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const (
	saysKept      = "What it returned is leased to this consumer, and the transport keeps the lease alive, until it is settled, the subscription is closed, or the lease is lost."
	saysExclusive = "No other consumer of the group has the message meanwhile."
	saysLease     = "Lease is how long a delivery belongs to a consumer that gives no sign of life; 0 means DefaultLease."
	saysRenews    = "The transport renews leases well before they end, so Lease bounds how long the messages of a dead consumer wait, not how long a handler may take."
	saysRedeliv   = "Redelivered is how often this group got the message again without an outcome: its consumer had died or lost the lease."
)

var leaseClauses = []clause{
	{"lease-kept", saysKept, func(e *env) {
		held(e, func(a, b *consumer, ds []*transport.Delivery) {
			a.done(ds...)
			b.done(b.expect("next")...)
			a.leave()
			b.leave()
			e.join(e.open(), e.topic("a"), "g").silent()
		})
	}},

	{"lease-exclusive", saysExclusive, func(e *env) {
		held(e, func(_, b *consumer, _ []*transport.Delivery) { b.expect("next") })
	}},

	{"lease-slow-handler", saysRenews, func(e *env) {
		held(e, func(a, _ *consumer, ds []*transport.Delivery) {
			for _, d := range ds {
				a.failed(d, 0)
			}
			for body, d := range byBody(a.all(len(ds) + 1)) {
				a.counts(d, map[bool]int{true: 1, false: 2}[body == "next"], 0)
			}
		})
	}},

	{"lease-runs-out", saysLease, func(e *env) {
		tr, other, t := e.open(), e.open(), e.topic("a")
		a := e.joinLeased(tr, t, "g")
		want := numbered("m", 5)
		e.publish(tr, t, want...)
		a.expect(want...)
		e.broker.Crash(a.Subscription)
		b := e.joinLeased(other, t, "g")
		ds := b.expect(want...)
		for _, d := range ds {
			b.counts(d, 1, 1)
		}
		b.done(ds...)
		b.silent()
	}},

	{"lease-not-before", saysLease, func(e *env) {
		tr, t := e.open(), e.topic("a")
		a, b := e.join(tr, t, "g"), e.join(tr, t, "g") // five minutes
		e.publish(tr, t, "a")
		a.expect("a")
		e.broker.Crash(a.Subscription)
		ctx, cancel := context.WithTimeout(e.Context(), min(e.h.Quiet, time.Minute))
		defer cancel()
		if ds, err := b.Receive(ctx, 10); err == nil {
			e.broken("another consumer got %s long before the lease had ended", describe(ds))
		}
	}},

	{"lease-waiting-consumer", saysRenews, func(e *env) {
		tr, other, t := e.open(), e.open(), e.topic("a")
		a, b := e.joinLeased(tr, t, "g"), e.joinLeased(other, t, "g")
		e.publish(tr, t, "a")
		a.expect("a")
		got := receiveLater(b, e.Context(), 10)
		e.broker.Crash(a.Subscription)
		if r := e.outcome(got); r.err != nil || len(r.ds) != 1 {
			e.broken("a consumer that waited got %d deliveries and the error %v", len(r.ds), r.err)
		}
	}},

	{"lease-counts", saysRedeliv, func(e *env) {
		tr, t := e.open(), e.topic("a")
		e.publish(tr, t, "a")
		a := e.joinLeased(tr, t, "g")
		a.counts(a.one(), 1, 0)
		e.broker.Crash(a.Subscription)
		b := e.joinLeased(tr, t, "g")
		d := b.one()
		b.counts(d, 1, 1)
		b.failed(d, 0)
		d = b.one()
		b.counts(d, 2, 1)
		e.broker.Crash(b.Subscription)
		c := e.joinLeased(tr, t, "g")
		d = c.one()
		c.counts(d, 2, 2)
		c.settle(transport.Settlement{Delivery: d, Verdict: transport.Deferred})
		d = c.one()
		c.counts(d, 2, 2)
		c.leave()
		last := e.joinLeased(tr, t, "g")
		d = last.one()
		last.counts(d, 2, 2)
		last.done(d)
		last.silent()
	}},

	{"attempt-counts", "Attempt is 1 plus the number of times this group settled the message as Failed.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "a")
		for attempt := 1; attempt <= 4; attempt++ {
			d := c.one()
			c.counts(d, attempt, 0)
			c.settle(transport.Settlement{Delivery: d, Verdict: transport.Deferred, After: time.Millisecond})
			d = c.one()
			c.counts(d, attempt, 0)
			c.failed(d, time.Duration(attempt%2)*time.Millisecond)
		}
	}},

	{"redelivered-without-an-outcome", saysRedeliv, func(e *env) {
		tr, t := e.open(), e.topic("a")
		e.publish(tr, t, "a")
		for n := range 3 {
			c := e.joinLeased(tr, t, "g")
			c.counts(c.one(), 1, n)
			e.broker.Crash(c.Subscription)
		}
	}},
}

// held has one consumer hold deliveries for four leases, some of them in a second batch, while another one is waiting.
func held(e *env, then func(a, b *consumer, ds []*transport.Delivery)) {
	e.Helper()
	tr, other, t := e.open(), e.open(), e.topic("a")
	a, b := e.joinLeased(tr, t, "g"), e.joinLeased(other, t, "g")
	e.publish(tr, t, numbered("m", 6)...)
	ds := append(a.all(2), a.all(4)...)
	ctx, cancel := context.WithTimeout(e.Context(), 4*e.h.Lease)
	defer cancel()
	got, err := b.Receive(ctx, 10)
	if len(got) > 0 {
		e.broken("another consumer got %s while the first still held it", describe(got))
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		e.broken("Receive returned %v", err)
	}
	select {
	case d := <-a.lost:
		e.broken("the lease of %q was lost while its consumer lived", d.Body)
	default:
	}
	e.publish(tr, t, "next")
	then(a, b, ds)
}
