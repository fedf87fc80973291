package transporttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const saysEveryGroup = "Each group of a topic gets every message; within a group each message is leased to one consumer at a time, until that consumer settles it."

var subscribeClauses = []clause{
	{"subscribe-creates", "Subscribe joins g, which it creates at g.Start if the topic does not have it yet.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		e.publish(tr, t, "before")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "after")
		c.expect("before", "after")
	}},

	{"start-earliest", "where the group begins if the topic does not have it yet; the zero value is Earliest", func(e *env) {
		tr, t := e.open(), e.topic("a")
		e.publish(tr, t, "a", "b", "c")
		first := e.join(tr, t, "g1")
		first.done(first.expect("a", "b", "c")...)
		e.join(tr, t, "g2").expect("a", "b", "c")
	}},

	{"start-latest", "only what is published after the group was made", func(e *env) {
		tr, t := e.open(), e.topic("a")
		e.publish(tr, t, "before")
		c := e.joinAs(tr, t, transport.Group{Name: "g", Start: transport.Start{Latest: true}})
		e.publish(tr, t, "after")
		c.done(c.expect("after")...)
		c.silent()
	}},

	{"start-latest-new-topic", "only what is published after the group was made", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.joinAs(tr, t, transport.Group{Name: "g", Start: transport.Start{Latest: true}})
		e.publish(tr, t, "first of all")
		c.expect("first of all")
	}},

	{"start-time", "what was stored at this time or later", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "all")
		var at []time.Time
		for _, body := range []string{"a", "b", "c"} {
			e.publish(tr, t, body)
			at = append(at, c.one().Time)
			e.wait(20 * time.Millisecond)
		}
		since := func(i int, at time.Time) *consumer {
			return e.joinAs(tr, t, transport.Group{Name: fmt.Sprint("since-", i), Start: transport.Start{Time: at}})
		}
		since(0, at[1]).expect("b", "c")
		since(1, at[1].Add(10*time.Millisecond)).expect("c")
		since(2, at[0].Add(-time.Hour)).expect("a", "b", "c")
		since(3, time.Now().Add(5*time.Second)).silent()
	}},

	{"start-id", `this position, inclusive, in the transport's own form (on Redis an entry id, "1526919030474-55")`, func(e *env) {
		e.needs(e.broker.Position != nil, "Position")
		tr, t := e.open(), e.topic("a")
		e.publish(tr, t, "a", "b", "c")
		pos := e.broker.Position(t, 1)
		e.joinAs(tr, t, transport.Group{Name: "g", Start: transport.Start{ID: pos}}).expect("b", "c")
	}},

	{"group-goes-on", "A group that exists goes on where it stood, whatever g.Start says.", func(e *env) {
		tr, other, t := e.open(), e.open(), e.topic("a")
		e.publish(tr, t, "a", "b", "c")
		c := e.join(tr, t, "g")
		c.done(c.one())
		c.leave()
		starts := []transport.Start{{Latest: true}, {}, {Time: time.Now().Add(time.Hour)}}
		for i, start := range starts[:2] {
			c = e.joinAs(other, t, transport.Group{Name: "g", Start: start})
			d := c.one()
			if want := []string{"b", "c"}[i]; string(d.Body) != want {
				e.broken("a group that had to go on at %q went on at %q", want, d.Body)
			}
			c.done(d)
			c.leave()
		}
		e.publish(tr, t, "d")
		e.joinAs(other, t, transport.Group{Name: "g", Start: starts[2]}).expect("d")
	}},

	{"group-shares", "Several subscriptions of one group, in this process or others, share its messages.", func(e *env) {
		tr, other, t := e.open(), e.open(), e.topic("a")
		cs := []*consumer{e.join(tr, t, "g"), e.join(tr, t, "g"), e.join(other, t, "g")}
		want := numbered("m", 60)
		e.publish(tr, t, want...)
		var got []string
		for range 20 {
			for _, c := range cs {
				d := c.one()
				got = append(got, string(d.Body))
				c.done(d)
			}
		}
		if missing, extra := difference(want, got); len(missing)+len(extra) > 0 {
			e.broken("missing: %s; twice: %s", few(missing), few(extra))
		}
		for _, c := range cs {
			c.silent()
		}
	}},

	{"group-every-message", saysEveryGroup, func(e *env) {
		tr, t := e.open(), e.topic("a")
		a, b := e.join(tr, t, "g1"), e.join(tr, t, "g2")
		want := numbered("m", 30)
		e.publish(tr, t, want...)
		a.done(a.expect(want...)...)
		if got := texts(b.all(len(want))); !slices.Equal(got, want) {
			e.broken("the second group got %s", few(got))
		}
	}},

	{"group-unaffected", "What it says concerns its own group only: other groups of the topic are not affected.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		a, b := e.join(tr, t, "g1"), e.join(tr, t, "g2")
		e.publish(tr, t, "done", "failed", "deferred", "dead")
		ds := a.all(4)
		a.settle(
			transport.Settlement{Delivery: ds[0], Verdict: transport.Done},
			transport.Settlement{Delivery: ds[1], Verdict: transport.Failed},
			transport.Settlement{Delivery: ds[2], Verdict: transport.Deferred, After: short},
			transport.Settlement{Delivery: ds[3], Verdict: transport.Dead, Reason: "permanent"},
		)
		a.done(a.all(2)...)
		got := b.expect("done", "failed", "deferred", "dead")
		for _, d := range got {
			b.counts(d, 1, 0)
		}
		b.done(got...)
		b.silent()
	}},

	{"topic-apart", "A Topic names a stream of messages and says how long it keeps them.", func(e *env) {
		tr := e.open()
		t1, t2 := e.topic("a"), e.topic("a.g")
		t2.Name += ".b"
		a, b := e.join(tr, t1, "g"), e.join(tr, t2, "g")
		e.publish(tr, t1, "one")
		e.publish(tr, t2, "two")
		d := a.expect("one")[0]
		if d.Topic != t1.Name || d.Group != "g" {
			e.broken("the delivery says it is of topic %q and group %q", d.Topic, d.Group)
		}
		b.expect("two")
		a.silent()
	}},

	{"topic-need-not-exist", "The topic need not exist.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		c.silent()
		e.publish(tr, t, "a")
		c.expect("a")
	}},

	{"subscribe-context", "ctx bounds the call, not the subscription.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		ctx, cancel := context.WithCancel(e.Context())
		sub, err := tr.Subscribe(ctx, t, transport.Group{Name: "g"})
		e.must("Subscribe", err)
		cancel()
		e.publish(tr, t, "a")
		c := &consumer{env: e, Subscription: sub}
		c.done(c.expect("a")...)
	}},

	{"subscribe-closed", "After Close it returns an error that wraps [ErrClosed].", func(e *env) {
		tr, t := e.open(), e.topic("a")
		e.must("Close", tr.Close())
		if _, err := tr.Subscribe(e.Context(), t, transport.Group{Name: "g"}); !errors.Is(err, transport.ErrClosed) {
			e.broken("Subscribe returned %v", err)
		}
	}},
}
