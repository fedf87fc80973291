package transporttest

import (
	"slices"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const saysDelay = "A message with NotBefore in the future is stored at once and delivered when its time has come, never earlier."

var delayClauses = []clause{
	{"delay-not-early", saysDelay, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		ms := messages("third", "first", "second", "now")
		from := time.Now()
		for i, after := range []time.Duration{3 * short, short, 2 * short} {
			ms[i].NotBefore = from.Add(after)
		}
		e.publishAll(tr, t, ms)
		for i, want := range []string{"now", "first", "second", "third"} {
			d := c.one()
			if early := time.Until(from.Add(time.Duration(i) * short)); early > e.slack() {
				e.broken("%q came %s too early", d.Body, early)
			}
			if string(d.Body) != want {
				e.broken("%q came when it was the turn of %q", d.Body, want)
			}
			c.done(d)
		}
		c.silent()
	}},

	{"delay-stored-at-once", saysDelay, func(e *env) {
		tr, other, t := e.open(), e.open(), e.topic("a")
		m := messages("late")
		m[0].NotBefore = time.Now().Add(short)
		e.publishAll(tr, t, m)
		e.must("Close", tr.Close())
		c := e.join(other, t, "g")
		c.done(c.expect("late")...)
	}},

	{"delay-every-group", "Each group of a topic gets every message; within a group each message is leased to one consumer at a time, until that consumer settles it.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		a, b := e.join(tr, t, "g1"), e.join(tr, t, "g2")
		ms := messages(numbered("late", 20)...)
		for _, m := range ms {
			m.NotBefore = time.Now().Add(short)
		}
		e.publishAll(tr, t, ms)
		for _, c := range []*consumer{a, b} {
			c.done(c.expect(numbered("late", 20)...)...)
			c.silent()
		}
	}},

	{"delay-past", saysDelay, func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		ms := messages("a", "b", "c")
		ms[1].NotBefore = time.Now().Add(-time.Hour)
		e.publishAll(tr, t, ms)
		if got := texts(c.all(3)); !slices.Equal(got, []string{"a", "b", "c"}) {
			e.broken("NotBefore was in the past, and the messages came as %v", got)
		}
	}},

	{"delay-not-kept", "It is not stored, so deliveries do not have it.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publishAll(tr, t, []*transport.Message{
			{ID: transport.NewID(), NotBefore: time.Now().Add(-time.Hour)},
			{ID: transport.NewID(), NotBefore: time.Now().Add(short)},
		})
		for _, d := range c.all(2) {
			if !d.NotBefore.IsZero() {
				e.broken("a delivery has NotBefore %v", d.NotBefore)
			}
		}
	}},
}
