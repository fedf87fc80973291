package transporttest

import (
	"time"

	"github.com/typedbus/typedbus/transport"
)

// left is a topic with a group g that has lost its consumer, and one, r, that has handled all of what is stored.
type left struct {
	*env
	transport.Topic
	tr     transport.Transport
	reader *consumer
	stored []string
}

func (e *env) left(after time.Duration) *left {
	e.Helper()
	l := &left{env: e, tr: e.open(), Topic: e.topic("a"), stored: numbered("m", 500)}
	l.Retention = transport.Retention{MaxLen: 10, AbandonAfter: after}
	e.join(l.tr, l.Topic, "g").leave()
	l.reader = e.join(l.tr, l.Topic, "r")
	e.flood(l.tr, l.Topic, l.stored)
	l.reader.done(l.reader.all(500)...)
	return l
}

// more publishes, and r handles it.
func (l *left) more(n int) {
	l.Helper()
	bodies := numbered("more", n)
	l.flood(l.tr, l.Topic, bodies)
	l.reader.done(l.reader.all(n)...)
	l.stored = append(l.stored, bodies...)
}

// passed waits until something is removed.
func (l *left) passed() {
	l.Helper()
	l.eventually("what the group left is still there", func() bool {
		l.more(10)
		return l.broker.Stored(l.Topic) < len(l.stored)
	})
}

var abandonClauses = []clause{
	{"abandoned-does-not-hold-back", "AbandonAfter, if not 0, is for how long nobody must have read a group before a soft bound does not wait for it any more.", func(e *env) {
		e.needs(e.broker.Stored != nil, "Stored")
		l := e.left(short)
		l.passed()
	}},

	{"abandoned-in-time", "AbandonAfter, if not 0, is for how long nobody must have read a group before a soft bound does not wait for it any more.", func(e *env) {
		l := e.left(time.Hour)
		e.wait(4 * short)
		l.more(500)
		e.join(l.tr, l.Topic, "g").expect(l.stored...)
	}},

	{"abandoned-never", "With 0 it waits for ever.", func(e *env) {
		l := e.left(0)
		e.wait(4 * short)
		l.more(500)
		e.join(l.tr, l.Topic, "g").expect(l.stored...)
	}},

	{"abandoned-comes-back", "What that removes the group does not get; a consumer that comes back is told through [Group.Warn] as a [*LossError], and from then on the bound waits for the group again.", func(e *env) {
		e.needs(e.broker.Stored != nil, "Stored")
		l := e.left(short)
		l.passed()
		g, kept := e.join(l.tr, l.Topic, "g"), e.broker.Stored(l.Topic)
		e.publish(l.tr, l.Topic, "last")
		got := 0
		for last := ""; last != "last"; got++ {
			d := g.one()
			last = string(d.Body)
			g.done(d)
		}
		l.reader.done(l.reader.one())
		if got > kept+1 {
			e.broken("%d messages were kept and %d delivered", kept, got)
		}
		e.reported(g, int64(len(l.stored)+1-got))
		l.stored = numbered("new", 0)
		l.more(500)
		e.wait(4 * short)
		l.more(500)
		g.expect(l.stored...)
	}},

	{"abandoned-not-while-read", "A group with a consumer is never given up, however slow it is.", func(e *env) {
		l := e.left(short)
		g := e.join(l.tr, l.Topic, "g")
		first := g.one()
		e.wait(4 * short)
		l.more(500)
		e.wait(4 * short)
		if string(first.Body) != l.stored[0] {
			e.broken("it begins with %q", first.Body)
		}
		g.expect(l.stored[1:]...)
	}},
}
