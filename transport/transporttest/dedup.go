package transporttest

import (
	"slices"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const saysKnown = "A message whose ID it knows is not stored again, and its outcome is Stored."

// dedup returns a topic that knows ids for a time.
func (e *env) dedup(window time.Duration) transport.Topic {
	t := e.topic("a")
	t.Dedup = window
	return t
}

// twice publishes ms, handles them, and publishes them again.
func (e *env) twice(c *consumer, tr transport.Transport, t transport.Topic, ms []*transport.Message) {
	e.Helper()
	e.publishAll(tr, t, ms)
	c.done(c.all(len(ms))...)
	e.publishAll(tr, t, ms)
}

var dedupClauses = []clause{
	{"dedup-not-stored-again", saysKnown, func(e *env) {
		tr, other, t := e.open(), e.open(), e.dedup(time.Hour)
		c := e.join(tr, t, "g")
		ms := messages(numbered("m", 20)...)
		e.publishAll(tr, t, ms[:1])
		e.publishAll(other, t, ms[:10])
		e.publishAll(tr, t, slices.Concat(ms[5:], ms))
		if got := texts(c.all(len(ms))); !slices.Equal(got, numbered("m", 20)) {
			e.broken("the messages came as %s", few(got))
		}
		c.silent()
	}},

	{"dedup-long-ids", saysKnown, func(e *env) {
		tr, t := e.open(), e.dedup(time.Hour)
		c := e.join(tr, t, "g")
		long := string(slices.Repeat([]byte("x"), 500))
		ms := messages("a", "b", "c", "d")
		for i, id := range []string{long + "a", long + "b", "}:{\x00", "*"} {
			ms[i].ID = id
		}
		e.twice(c, tr, t, ms)
		c.silent()
	}},

	{"dedup-remembers", "Neither retention, nor that it was handled, makes the topic forget an ID before its time.", func(e *env) {
		tr, t := e.open(), e.dedup(time.Hour)
		t.Retention = transport.Retention{MaxLen: 10, Hard: true}
		c := e.join(tr, t, "g")
		first := messages("first")
		e.publishAll(tr, t, first)
		c.done(c.all(1)...)
		for range 5 {
			e.flood(tr, t, numbered("m", 300))
		}
		e.publish(tr, t, "last")
		for last := ""; last != "last"; {
			d := c.one()
			last = string(d.Body)
			c.done(d)
		}
		e.publishAll(tr, t, first)
		c.silent()
	}},

	{"dedup-delayed", "Messages that NotBefore holds back are known as well.", func(e *env) {
		tr, t := e.open(), e.dedup(time.Hour)
		c := e.join(tr, t, "g")
		ms := messages("late")
		ms[0].NotBefore = time.Now().Add(short)
		e.publishAll(tr, t, ms)
		e.twice(c, tr, t, ms)
		c.silent()
	}},

	{"dedup-ends", "Afterwards the ID may be stored again.", func(e *env) {
		tr, t := e.open(), e.dedup(short)
		c := e.join(tr, t, "g")
		ms := messages("a")
		e.publishAll(tr, t, ms)
		c.done(c.one())
		e.wait(short + 50*time.Millisecond)
		e.publishAll(tr, t, ms)
		c.done(c.one())
	}},

	{"dedup-window", "Dedup, if not 0, is how long the topic knows the ID of a message that was published with it.", func(e *env) {
		tr, t := e.open(), e.dedup(0)
		c := e.join(tr, t, "g")
		ms := messages("a")
		e.twice(c, tr, t, ms) // without Dedup both are stored, and none is known
		c.done(c.one())
		t.Dedup = time.Hour
		e.twice(c, tr, t, ms)
		c.silent()
	}},

	{"dedup-not-of-staged", "What is staged is stored whatever its ID is.", func(e *env) {
		tr, t := e.open(), e.dedup(time.Hour)
		c := e.join(tr, t, "g")
		ms := messages("a")
		e.publishAll(tr, t, ms)
		c.settle(transport.Settlement{Delivery: c.one(), Verdict: transport.Done, Stage: []transport.Staged{{Topic: t, Message: ms[0]}}})
		c.done(c.one())
	}},
}
