package transporttest

import (
	"errors"
	"slices"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const (
	saysSoft = "A soft bound (Hard false) removes only what every group has acknowledged, so a topic can grow past it while a group is behind, and nothing is removed while the topic has no group."
	saysHard = "A hard bound is enforced when publishing and also removes what groups have not handled yet; that is counted and reported through [Group.Warn] as a [*LossError]."
)

// flood publishes messages in batches.
func (e *env) flood(tr transport.Transport, t transport.Topic, bodies []string) {
	e.Helper()
	for len(bodies) > 0 {
		n := min(100, len(bodies))
		e.publish(tr, t, bodies[:n]...)
		bodies = bodies[n:]
	}
}

var retentionClauses = []clause{
	{"soft-keeps-what-is-not-handled", saysSoft, func(e *env) {
		tr, t := e.open(), e.topic("a")
		t.Retention = transport.Retention{MaxLen: 10}
		fast, slow := e.join(tr, t, "fast"), e.join(tr, t, "slow")
		want := numbered("m", 1000)
		e.flood(tr, t, want[:500])
		held := slow.all(5)
		fast.done(fast.all(500)...)
		e.flood(tr, t, want[500:])
		fast.done(fast.all(500)...)
		got := append(texts(held), texts(slow.all(995))...)
		if missing, extra := difference(want, got); len(missing)+len(extra) > 0 {
			e.broken("a slow group misses %s", few(missing))
		}
		if len(slow.warned) > 0 {
			e.broken("the slow group was warned: %v", <-slow.warned)
		}
	}},

	{"soft-keeps-what-is-pending", saysSoft, func(e *env) {
		tr, t := e.open(), e.topic("a")
		t.Retention = transport.Retention{MaxLen: 10}
		c := e.join(tr, t, "g")
		want := numbered("m", 1000)
		e.flood(tr, t, want)
		ds := c.all(1000)
		c.done(ds[1:]...) // all but the first
		e.flood(tr, t, numbered("more", 500))
		c.done(c.all(500)...)
		if d := e.join(tr, t, "new").one(); string(d.Body) != want[0] {
			e.broken("%q is not acknowledged, but a new group begins with %q", want[0], d.Body)
		}
	}},

	{"soft-keeps-without-groups", saysSoft, func(e *env) {
		tr, t := e.open(), e.topic("a")
		t.Retention = transport.Retention{MaxLen: 10}
		want := numbered("m", 500)
		e.flood(tr, t, want)
		e.join(tr, t, "g").expect(want...)
	}},

	{"soft-keeps-what-waits", saysSoft, func(e *env) {
		tr, t := e.open(), e.topic("a")
		t.Retention = transport.Retention{MaxLen: 10}
		c := e.join(tr, t, "g")
		e.publish(tr, t, "waits", "dies")
		ds := byBody(c.all(2))
		c.failed(ds["waits"], 2*short)
		c.dead(ds["dies"])
		e.flood(tr, t, numbered("m", 500))
		c.done(c.expect(append(numbered("m", 500), "waits")...)...)
		if q, ok := tr.(transport.DeadLetters); ok {
			if ls := (&graveyard{c, tr, q, t}).page("", 10); len(ls) != 1 || string(ls[0].Body) != "dies" {
				e.broken("the dead letter is gone: %d letters", len(ls))
			}
		}
	}},

	{"soft-removes", "It is enforced from time to time, not at each publish.", func(e *env) {
		removes(e, transport.Retention{MaxLen: 10})
	}},

	{"soft-removes-old", "age of the oldest message kept; 0: no limit", func(e *env) {
		removes(e, transport.Retention{MaxAge: short})
	}},

	{"hard-reports", saysHard, func(e *env) {
		tr, t := e.open(), e.topic("a")
		t.Retention = transport.Retention{MaxLen: 50, Hard: true}
		c := e.join(tr, t, "g")
		want := numbered("m", 1500)
		e.flood(tr, t, want)
		e.publish(tr, t, "last")
		got := 0
		for last := ""; last != "last"; got++ {
			d := c.one()
			last = string(d.Body)
			c.done(d)
		}
		if got > 1000 {
			e.broken("the bound is 50, and %d of 1501 messages were there", got)
		}
		e.reported(c, int64(1501-got))
	}},

	{"hard-keeps-the-newest", "messages kept; 0: DefaultMaxLen, or no limit if MaxAge is set; negative: no limit", func(e *env) {
		tr, t := e.open(), e.topic("a")
		t.Retention = transport.Retention{MaxLen: 300, Hard: true}
		want := numbered("m", 1500)
		e.flood(tr, t, want)
		c := e.join(tr, t, "g")
		var got []string
		for len(got) == 0 || got[len(got)-1] != want[len(want)-1] {
			got = append(got, string(c.one().Body))
		}
		if len(got) < 300 || !slices.Equal(got, want[len(want)-len(got):]) {
			e.broken("the bound is 300; %d messages were kept, from %s on, to %s", len(got), got[0], got[len(got)-1])
		}
	}},
}

// reported waits for the group to be told of its loss.
func (e *env) reported(c *consumer, lost int64) {
	e.Helper()
	select {
	case err := <-c.warned:
		var loss *transport.LossError
		if !errors.As(err, &loss) {
			e.broken("%d messages were lost; Warn was called with %v", lost, err)
		}
		if loss.Topic != e.topic("a").Name || loss.Group != "g" || loss.What == "" {
			e.broken("the report does not say what was lost: %+v", *loss)
		}
		if loss.Count < 1 || loss.Count > lost {
			e.broken("%d messages were lost; the report counts %d", lost, loss.Count)
		}
	case <-time.After(e.h.Patience):
		e.broken("%d messages were lost and nobody was told", lost)
	}
}

// removes sees that what every group has acknowledged goes some day.
func removes(e *env, keep transport.Retention) {
	e.Helper()
	e.needs(e.broker.Stored != nil, "Stored")
	tr, t := e.open(), e.topic("a")
	t.Retention = keep
	c := e.join(tr, t, "g")
	e.flood(tr, t, numbered("m", 1000))
	c.done(c.all(1000)...)
	e.wait(short)
	e.eventually("what was acknowledged is still there", func() bool {
		e.publish(tr, t, numbered("more", 10)...)
		c.done(c.all(10)...)
		return e.broker.Stored(t) < 1000
	})
}
