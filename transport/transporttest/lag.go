package transporttest

import (
	"errors"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// lagOf returns a function that looks at the lag of group g.
func lagOf(e *env, tr transport.Transport, t transport.Topic) func() transport.Lag {
	e.Helper()
	l, ok := tr.(transport.Lagger)
	e.needs(ok, "Lagger")
	return func() transport.Lag {
		e.Helper()
		lag, err := l.Lag(e.Context(), t, "g")
		e.must("Lag", err)
		return lag
	}
}

// shows waits until the lag is as it should be. An Undelivered of -1 is always right.
func shows(e *env, look func() transport.Lag, want transport.Lag) {
	e.Helper()
	var got transport.Lag
	defer func() {
		if e.Failed() {
			e.Logf("the last look showed %+v; %+v would be right", got, want)
		}
	}()
	e.eventually("Lag did not show the numbers it should", func() bool {
		got = look()
		if got.Undelivered == -1 {
			got.Undelivered = want.Undelivered
		}
		got.Oldest = 0
		return got == want
	})
}

var lagClauses = []clause{
	{"lag-numbers", "Lag looks at a group.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		look := lagOf(e, tr, t)
		c := e.join(tr, t, "g")
		shows(e, look, transport.Lag{})
		e.publish(tr, t, numbered("m", 10)...)
		shows(e, look, transport.Lag{Undelivered: 10})
		ds := c.all(6)
		shows(e, look, transport.Lag{Undelivered: 4, Pending: 6})
		c.done(ds[0])
		c.failed(ds[1], time.Hour)
		c.settle(transport.Settlement{Delivery: ds[2], Verdict: transport.Deferred, After: time.Hour})
		c.dead(ds[3])
		shows(e, look, transport.Lag{Undelivered: 4, Pending: 2, Waiting: 2, Dead: 1})
		c.done(ds[4:]...)
		c.done(c.all(4)...)
		shows(e, look, transport.Lag{Waiting: 2, Dead: 1})
		later := messages("later")
		later[0].NotBefore = time.Now().Add(time.Hour)
		e.must("Publish", tr.Publish(e.Context(), t, later))
		shows(e, look, transport.Lag{Waiting: 2, Dead: 1, Delayed: 1})
	}},

	{"lag-retried", "Lag looks at a group.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		look := lagOf(e, tr, t)
		c := e.join(tr, t, "g")
		e.publish(tr, t, "a")
		c.failed(c.one(), short)
		d := c.one()
		shows(e, look, transport.Lag{Pending: 1})
		c.done(d)
		shows(e, look, transport.Lag{})
	}},

	{"lag-after-crash", "Lag looks at a group.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		look := lagOf(e, tr, t)
		a := e.joinLeased(tr, t, "g")
		e.publish(tr, t, "a", "b")
		a.all(2)
		e.broker.Crash(a.Subscription)
		b := e.joinLeased(tr, t, "g")
		ds := b.all(2)
		shows(e, look, transport.Lag{Pending: 2})
		b.done(ds...)
		shows(e, look, transport.Lag{})
	}},

	{"lag-oldest", "since the oldest pending message was stored; 0 if there is none", func(e *env) {
		tr, t := e.open(), e.topic("a")
		look := lagOf(e, tr, t)
		c := e.join(tr, t, "g")
		e.publish(tr, t, "a")
		if oldest := look().Oldest; oldest != 0 {
			e.broken("nothing is pending and Oldest is %s", oldest)
		}
		first := c.one()
		e.wait(short)
		e.publish(tr, t, "b")
		second := c.one()
		if oldest := look().Oldest; oldest < short-e.slack() || oldest > time.Minute {
			e.broken("a message has been pending for more than %s; Oldest is %s", short, oldest)
		}
		c.done(first)
		if oldest := look().Oldest; oldest > short && e.h.Bubble {
			e.broken("the old message is settled; Oldest is %s", oldest)
		}
		c.done(second)
		if oldest := look().Oldest; oldest != 0 {
			e.broken("everything is settled and Oldest is %s", oldest)
		}
	}},

	{"lag-no-group", "The group of a topic nobody has subscribed to has an error that wraps [ErrNoGroup].", func(e *env) {
		tr, t := e.open(), e.topic("a")
		l, ok := tr.(transport.Lagger)
		e.needs(ok, "Lagger")
		for range 2 {
			if _, err := l.Lag(e.Context(), t, "g"); !errors.Is(err, transport.ErrNoGroup) {
				e.broken("Lag returned %v", err)
			}
			e.publish(tr, t, "a")
			e.join(tr, t, "another")
		}
	}},
}
