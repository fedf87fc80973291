package transporttest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const (
	saysFailed   = "the group gets it again, After from now and not earlier, with Attempt one higher and the same Redelivered."
	saysDeferred = "the group gets it again, After from now and not earlier (at once if After is 0), with Attempt and Redelivered as they are."
	saysTwice    = "Settling what is settled is no error."
)

var settleClauses = []clause{
	{"settle-done", "Done: the group has handled the message and does not get it again.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.joinLeased(tr, t, "g")
		e.publish(tr, t, "a", "b", "c")
		c.done(c.expect("a", "b", "c")...)
		c.leave()
		c = e.joinLeased(e.open(), t, "g")
		c.silent()
		e.broker.Crash(c.Subscription)
		c = e.joinLeased(tr, t, "g")
		e.wait(2 * e.h.Lease)
		c.silent()
	}},

	{"settle-failed", "Failed: " + saysFailed, func(e *env) {
		again(e, transport.Failed, 0, 1)
		again(e, transport.Failed, short, 1)
	}},

	{"settle-failed-other-consumer", "Failed: " + saysFailed, func(e *env) {
		tr, other, t := e.open(), e.open(), e.topic("a")
		a := e.join(tr, t, "g")
		e.publish(tr, t, "a", "b")
		for i, d := range a.all(2) {
			a.failed(d, time.Duration(i)*short)
		}
		a.leave()
		e.must("Close", tr.Close())
		b := e.join(other, t, "g")
		for _, d := range b.expect("a", "b") {
			b.counts(d, 2, 0)
		}
	}},

	{"settle-deferred", "Deferred: " + saysDeferred, func(e *env) {
		again(e, transport.Deferred, 0, 0)
		again(e, transport.Deferred, short, 0)
	}},

	{"settle-waiting-holds-nothing", "Failed: " + saysFailed, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "slow", "a", "b")
		d, at := c.one(), time.Now()
		c.failed(d, 6*short)
		c.done(c.expect("a", "b")...)
		if took := time.Since(at); e.h.Bubble && took > 0 {
			e.broken("the next messages came %s later, though they could come at once", took)
		}
		c.expect("slow")
	}},

	{"settle-many-waiting", "Failed: " + saysFailed, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		want := numbered("m", 150)
		e.publish(tr, t, want...)
		due := map[string]time.Time{}
		for i, d := range c.all(len(want)) {
			after := short + time.Duration(i%10)*5*time.Millisecond
			due[string(d.Body)] = time.Now().Add(after)
			c.failed(d, after)
		}
		for range want {
			d := c.one()
			if early := time.Until(due[string(d.Body)]); early > e.slack() {
				e.broken("%q came %s too early", d.Body, early)
			}
			c.counts(d, 2, 0)
			c.done(d)
		}
		c.silent()
	}},

	{"settle-error", "Otherwise it returns a [*SettleError] that tells which are not ended and why; those stay leased and may be settled again.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, numbered("m", 10)...)
		var ss []transport.Settlement
		for _, d := range c.all(10) {
			ss = append(ss, transport.Settlement{Delivery: d, Verdict: transport.Done})
		}
		ctx, cancel := context.WithCancel(e.Context())
		cancel()
		var left []transport.Settlement
		for i, err := range e.settleErrs(c.Settle(ctx, ss), len(ss)) {
			if err != nil {
				left = append(left, ss[i])
			}
		}
		c.settle(left...)
		c.leave()
		e.join(tr, t, "g").silent()
	}},

	{"settle-none", "Settle ends deliveries, each as its [Verdict] says, and returns nil when all of them are ended.", func(e *env) {
		c := e.join(e.open(), e.topic("a"), "g")
		c.settle()
	}},

	{"settle-mixed", "Settle ends deliveries, each as its [Verdict] says, and returns nil when all of them are ended.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, numbered("m", 40)...)
		verdicts := []transport.Verdict{transport.Done, transport.Failed, transport.Deferred, transport.Dead}
		var ss []transport.Settlement
		var want []string
		for i, d := range c.all(40) {
			ss = append(ss, transport.Settlement{Delivery: d, Verdict: verdicts[i%4], Reason: "permanent"})
			if v := verdicts[i%4]; v == transport.Failed || v == transport.Deferred {
				want = append(want, fmt.Sprint(string(d.Body), " ", 1+i%4%2))
			}
		}
		c.settle(ss...)
		var got []string
		for _, d := range c.all(20) {
			got = append(got, fmt.Sprint(string(d.Body), " ", d.Attempt))
			c.done(d)
		}
		if missing, extra := difference(want, got); len(missing)+len(extra) > 0 {
			e.broken("of bodies with their attempts are missing: %s; not expected: %s", few(missing), few(extra))
		}
		c.silent()
	}},

	{"settle-twice", saysTwice, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "done", "failed", "deferred", "dead")
		for i, d := range c.all(4) {
			st := transport.Settlement{Delivery: d, Verdict: transport.Verdict(i + 1), Reason: "permanent"}
			c.settle(st, st)
			c.settle(st)
		}
		ds := c.expect("failed", "deferred")
		for _, d := range ds {
			if d.Attempt > 2 {
				e.broken("settling twice made %q attempt %d", d.Body, d.Attempt)
			}
		}
		c.done(ds...)
		c.silent()
	}},

	{"settle-twice-otherwise", saysTwice, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "a")
		first := c.one()
		c.done(first)
		c.failed(first, 0)
		c.dead(first)
		c.silent()
		e.publish(tr, t, "b")
		first = c.one()
		c.failed(first, 0)
		again := c.one()
		c.counts(again, 2, 0)
		c.failed(first, 0) // names the lease that has ended, not the new one
		c.leave()
		c = e.join(tr, t, "g")
		c.counts(c.one(), 2, 0)
		c.silent()
	}},
}

// again checks a verdict that brings the message back.
func again(e *env, v transport.Verdict, after time.Duration, attempts int) {
	e.Helper()
	tr, t := e.open(), e.topic(fmt.Sprintf("after-%d", after.Milliseconds()))
	c := e.join(tr, t, "g")
	e.publish(tr, t, "a")
	for i := range 3 {
		d := c.one()
		c.counts(d, 1+i*attempts, 0)
		at := time.Now()
		c.settle(transport.Settlement{Delivery: d, Verdict: v, After: after, Reason: "not yet"})
		d = c.one()
		if took := time.Since(at); took < after-e.slack() {
			e.broken("it came %s after it was settled; %s was asked for", took, after)
		} else if e.h.Bubble && took > after {
			e.broken("it came %s after it was settled, later than the %s that were asked for", took, after)
		}
		c.settle(transport.Settlement{Delivery: d, Verdict: transport.Deferred})
	}
	c.done(c.one())
	c.silent()
}

// settleErrs reads the error of a Settle.
func (e *env) settleErrs(err error, n int) []error {
	e.Helper()
	if err == nil {
		return make([]error, n)
	}
	var se *transport.SettleError
	if !errors.As(err, &se) {
		e.broken("Settle returned a %T: %v", err, err)
	}
	if len(se.Errs) != n {
		e.broken("the error tells of %d settlements; there were %d", len(se.Errs), n)
	}
	if errors.Join(se.Errs...) == nil {
		e.broken("Settle returned an error, but tells of none that failed")
	}
	return se.Errs
}
