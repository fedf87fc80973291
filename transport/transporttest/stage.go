package transporttest

import (
	"errors"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const (
	saysWhole  = "A settlement happens whole or not at all, with all that it stages."
	saysStaged = "Done only: stored in the same atomic step, or not at all"
)

// staged makes one staged message of each body.
func staged(t transport.Topic, bodies ...string) (st []transport.Staged) {
	for _, m := range messages(bodies...) {
		st = append(st, transport.Staged{Topic: t, Message: m})
	}
	return st
}

var stageClauses = []clause{
	{"stage-stored", saysStaged, func(e *env) {
		tr, t, out := e.open(), e.topic("in"), e.topic("out")
		c, o := e.join(tr, t, "g"), e.join(tr, out, "g")
		e.publish(tr, t, "a", "b")
		for _, d := range c.all(2) {
			c.settle(transport.Settlement{Delivery: d, Verdict: transport.Done, Stage: staged(out, string(d.Body)+"1", string(d.Body)+"2")})
		}
		ds := o.expect("a1", "a2", "b1", "b2")
		for _, d := range ds {
			o.counts(d, 1, 0)
		}
		o.done(ds...)
		o.silent()
		c.silent()
	}},

	{"stage-refused", "ErrRefused: the broker will never take this settlement, as one that stages what cannot be stored.", func(e *env) {
		tr, t := e.open(), e.topic("in")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "a", "b")
		ds := c.all(2)
		err := c.try(
			transport.Settlement{Delivery: ds[0], Verdict: transport.Done, Stage: staged(transport.Topic{Name: "no name"}, "x")},
			transport.Settlement{Delivery: ds[1], Verdict: transport.Done},
		)
		var each *transport.SettleError
		if !errors.As(err, &each) || len(each.Errs) != 2 || !errors.Is(each.Errs[0], transport.ErrRefused) || each.Errs[1] != nil {
			e.broken("Settle returned %v", err)
		}
	}},

	{"stage-refused-otherwise", "The delivery can be settled otherwise.", func(e *env) {
		tr, t := e.open(), e.topic("in")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "a")
		d := c.one()
		_ = c.try(transport.Settlement{Delivery: d, Verdict: transport.Done, Stage: staged(transport.Topic{Name: "no name"}, "x")})
		c.failed(d, 0)
		c.done(c.expect("a")...)
		c.silent()
	}},

	{"stage-many-topics", saysWhole, func(e *env) {
		tr, t := e.open(), e.topic("in")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "a")
		var st []transport.Staged
		var outs []*consumer
		for i := range 4 {
			out := e.topic(fmt.Sprint("out", i))
			outs = append(outs, e.join(tr, out, "g"))
			st = append(st, staged(out, fmt.Sprint("to ", i))...)
		}
		c.settle(transport.Settlement{Delivery: c.one(), Verdict: transport.Done, Stage: append(st, st...)})
		for i, o := range outs {
			o.done(o.expect(fmt.Sprint("to ", i), fmt.Sprint("to ", i))...)
			o.silent()
		}
	}},

	{"stage-own-topic", saysWhole, func(e *env) {
		tr, t := e.open(), e.topic("in")
		c, other := e.join(tr, t, "g"), e.join(tr, t, "h")
		e.publish(tr, t, "a")
		c.settle(transport.Settlement{Delivery: c.one(), Verdict: transport.Done, Stage: staged(t, "b")})
		c.done(c.expect("b")...)
		c.silent()
		other.expect("a", "b")
	}},

	{"stage-delayed", saysDelay, func(e *env) {
		tr, t, out := e.open(), e.topic("in"), e.topic("out")
		c, o := e.join(tr, t, "g"), e.join(tr, out, "g")
		e.publish(tr, t, "a")
		st := staged(out, "late", "now")
		at := time.Now().Add(short)
		st[0].NotBefore = at
		c.settle(transport.Settlement{Delivery: c.one(), Verdict: transport.Done, Stage: st})
		o.done(o.expect("now")...)
		o.done(o.expect("late")...)
		if early := time.Until(at); early > e.slack() {
			e.broken("it came %s too early", early)
		}
		c.silent()
	}},

	{"stage-keeps-nothing", "Publish does not keep ms, nor anything they point to, after it has returned: the caller may change them.", func(e *env) {
		tr, t, out := e.open(), e.topic("in"), e.topic("out")
		c, o := e.join(tr, t, "g"), e.join(tr, out, "g")
		e.publish(tr, t, "a")
		st := staged(out, "body")
		want := st[0].Clone()
		c.settle(transport.Settlement{Delivery: c.one(), Verdict: transport.Done, Stage: st})
		scribble(st[0].Message)
		e.same(o.one().Message, want)
	}},

	{"stage-bad-topic", saysWhole, func(e *env) {
		tr, t, out := e.open(), e.topic("in"), e.topic("out")
		c, o := e.join(tr, t, "g"), e.join(tr, out, "g")
		e.publish(tr, t, "a", "b")
		ds := c.all(2)
		bad := staged(out, "must not be stored")
		bad = append(bad, staged(transport.Topic{Name: "no spaces allowed"}, "x")...)
		errs := e.settleErrs(c.try(
			transport.Settlement{Delivery: ds[0], Verdict: transport.Done, Stage: bad},
			transport.Settlement{Delivery: ds[1], Verdict: transport.Done, Stage: staged(out, "from b")},
		), 2)
		if errs[0] == nil || errs[1] != nil {
			e.broken("one settlement staged to a topic with a bad name, the other was good; their errors are %v and %v", errs[0], errs[1])
		}
		o.done(o.expect("from b")...)
		o.silent()
		c.settle(transport.Settlement{Delivery: ds[0], Verdict: transport.Done, Stage: staged(out, "from a")})
		o.expect("from a")
		c.silent()
	}},

	{"stage-done-only", saysStaged, func(e *env) {
		tr, t, out := e.open(), e.topic("in"), e.topic("out")
		c, o := e.join(tr, t, "g"), e.join(tr, out, "g")
		e.publish(tr, t, "failed", "deferred", "dead")
		for i, d := range c.all(3) {
			c.try(transport.Settlement{Delivery: d, Verdict: transport.Verdict(i + 2), Reason: "permanent", Stage: staged(out, "must not be stored")})
		}
		o.silent()
	}},

	{"stage-twice", saysTwice, func(e *env) {
		tr, t, out := e.open(), e.topic("in"), e.topic("out")
		c, o := e.join(tr, t, "g"), e.join(tr, out, "g")
		e.publish(tr, t, "a")
		st := transport.Settlement{Delivery: c.one(), Verdict: transport.Done, Stage: staged(out, "once")}
		c.settle(st)
		c.settle(st)
		o.done(o.expect("once")...)
		o.silent()
	}},
}
