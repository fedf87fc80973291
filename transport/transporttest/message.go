package transporttest

import (
	"strings"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// awkward are messages that a careless format breaks.
func awkward() []*transport.Message {
	every := make([]byte, 256)
	printable := ""
	for i := range every {
		every[i] = byte(i)
		if i > ' ' && i <= '~' {
			printable += string(rune(i))
		}
	}
	all := transport.Headers{
		{Name: "traceparent", Value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		{Name: "Empty"},
		{Name: "empty", Value: "names differ by case"},
		{Name: printable, Value: string(every)},
		{Name: strings.Repeat("n", 128), Value: strings.Repeat("v", 10_000)},
		{Name: "id", Value: "not the ID"}, {Name: "key", Value: "not the Key"}, {Name: "data", Value: "not the Body"},
		{Name: "ct", Value: "not the ContentType"}, {Name: "h.h", Value: "dots"}, {Name: "attempt", Value: "17"},
	}
	return []*transport.Message{
		{ID: transport.NewID()},
		{ID: "an id / of one's own {x}", Key: "a key: ü \x00\xff", ContentType: "application/json; charset=utf-8", Headers: all, Body: every},
		{ID: transport.NewID(), Headers: all[:1], Body: []byte(strings.Repeat("x", 1<<20))},
		{ID: transport.NewID(), Key: strings.Repeat("k", 5000), Body: []byte("\r\n$-1\r\n")},
	}
}

// eachWay hands the awkward messages to check on every way a message can take to a group.
func eachWay(e *env, check func(got, want *transport.Message)) {
	e.Helper()
	tr, t, out := e.open(), e.topic("in"), e.topic("out")
	c, staged := e.join(tr, t, "g"), e.join(tr, out, "g")
	for _, want := range awkward() {
		ms := []*transport.Message{want.Clone()}
		e.publishAll(tr, t, ms)
		d := c.one()
		check(d.Message, want)
		c.failed(d, 0)
		d = c.one()
		check(d.Message, want)
		c.failed(d, time.Millisecond)
		d = c.one()
		check(d.Message, want)
		c.settle(transport.Settlement{Delivery: d, Verdict: transport.Done, Stage: []transport.Staged{{Topic: out, Message: want.Clone()}}})
		d = staged.one()
		check(d.Message, want)
		staged.done(d)
		ms[0].NotBefore = time.Now().Add(20 * time.Millisecond)
		e.publishAll(tr, t, ms)
		d = c.one()
		check(d.Message, want)
		c.leave()
		c = e.join(tr, t, "g")
		d = c.one()
		check(d.Message, want)
		c.done(d)
	}
}

var messageClauses = []clause{
	{"message-whole", "A Message is an event at rest: everything about it is headers and bytes.", func(e *env) {
		eachWay(e, e.same)
	}},

	{"message-headers", "Names are 1 to 128 printable ASCII characters without spaces; values are any bytes.", func(e *env) {
		eachWay(e, func(got, want *transport.Message) {
			e.Helper()
			for _, name := range names(got.Headers, want.Headers) {
				g, came := got.Headers.Lookup(name)
				if w, was := want.Headers.Lookup(name); g != w || came != was {
					e.broken("header %.40q came as %.60q (%t); it was %.60q (%t)", name, g, came, w, was)
				}
			}
		})
	}},

	{"message-header-once", "A name occurs at most once.", func(e *env) {
		eachWay(e, func(got, _ *transport.Message) {
			e.Helper()
			seen := map[string]bool{}
			for _, h := range got.Headers {
				if seen[h.Name] {
					e.broken("a delivery has two headers %q", h.Name)
				}
				seen[h.Name] = true
			}
		})
	}},

	{"message-id", "made before the first try and the same in every copy; never empty in a delivery", func(e *env) {
		eachWay(e, func(got, want *transport.Message) {
			e.Helper()
			if got.ID != want.ID || got.ID == "" {
				e.broken("the id %q became %q", want.ID, got.ID)
			}
		})
	}},

	{"message-time", "Time is when the message was stored, by the broker's clock.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "a", "b")
		ds := c.all(2)
		if off := time.Since(ds[0].Time).Abs(); off > time.Minute {
			e.broken("Time is %s off, much more than clocks differ", off)
		}
		if ds[1].Time.Before(ds[0].Time) {
			e.broken("the second message has an earlier Time than the first: %v, %v", ds[1].Time, ds[0].Time)
		}
		c.failed(ds[0], short)
		if again := c.one(); !again.Time.Equal(ds[0].Time) {
			e.broken("the second attempt has the Time %v, the first had %v", again.Time, ds[0].Time)
		}
	}},

	{"message-time-set", "The transport sets it; publishing ignores it.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publishAll(tr, t, []*transport.Message{{ID: transport.NewID(), Time: time.Now().Add(-1000 * time.Hour)}})
		if off := time.Since(c.one().Time).Abs(); off > time.Minute {
			e.broken("the Time of a delivery is %s off", off)
		}
	}},

	{"message-time-delayed", "That of a message which NotBefore held back is when its time had come.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		e.publish(tr, t, "now")
		first := c.one()
		ms := messages("late")
		ms[0].NotBefore = time.Now().Add(short)
		e.publishAll(tr, t, ms)
		if d := c.one(); d.Time.Sub(first.Time) < short-2*e.slack() {
			e.broken("a message that was held back for %s has a Time %s after that of one before it", short, d.Time.Sub(first.Time))
		}
	}},

	{"message-own-copy", "Each group of a topic gets every message; within a group each message is leased to one consumer at a time, until that consumer settles it.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		a, b := e.join(tr, t, "g1"), e.join(tr, t, "g2")
		want := &transport.Message{ID: "i", Key: "k", Headers: transport.Headers{{Name: "h", Value: "v"}}, Body: []byte("body")}
		e.publishAll(tr, t, []*transport.Message{want.Clone()})
		d := a.one()
		scribble(d.Message)
		e.same(b.one().Message, want)
		a.failed(d, 0)
		d = a.one()
		e.same(d.Message, want)
		scribble(d.Message)
		a.leave()
		e.same(e.join(tr, t, "g1").one().Message, want)
	}},
}

// scribble changes a message in every way a handler may.
func scribble(m *transport.Message) {
	m.ID, m.Key, m.ContentType = "changed", "changed", "changed"
	m.Headers.Set("h", "changed")
	m.Headers.Set("more", "x")
	copy(m.Body, "XXXXXXXX")
	m.Body = append(m.Body, "more"...)
}

func names(all ...transport.Headers) (names []string) {
	for _, hs := range all {
		for _, h := range hs {
			names = append(names, h.Name)
		}
	}
	return names
}
