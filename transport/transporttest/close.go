package transporttest

import (
	"errors"

	"github.com/typedbus/typedbus/transport"
)

const (
	saysReleases = "Close releases what was received and not settled: other consumers get it at once, with Attempt and Redelivered as they were."
	saysAgain    = "Closing twice is no error."
)

var closeClauses = []clause{
	{"close-releases", saysReleases, func(e *env) {
		tr, other, t := e.open(), e.open(), e.topic("a")
		a := e.join(tr, t, "g") // the lease outlasts the suite's patience
		e.publish(tr, t, "new", "failed", "settled")
		ds := byBody(a.all(3))
		a.done(ds["settled"])
		a.failed(ds["failed"], 0)
		a.counts(a.one(), 2, 0)
		a.leave()
		b := e.join(other, t, "g")
		got := byBody(b.expect("new", "failed"))
		b.counts(got["new"], 1, 0)
		b.counts(got["failed"], 2, 0)
		b.done(got["new"], got["failed"])
		b.silent()
	}},

	{"close-releases-to-a-waiting-one", saysReleases, func(e *env) {
		tr, other, t := e.open(), e.open(), e.topic("a")
		a, b := e.join(tr, t, "g"), e.join(other, t, "g")
		e.publish(tr, t, "a", "b")
		a.expect("a", "b")
		got := receiveLater(b, e.Context(), 10)
		a.leave()
		r := e.outcome(got)
		if r.err != nil {
			e.broken("Receive returned %v", r.err)
		}
		if len(r.ds) < 2 {
			r.ds = append(r.ds, b.one())
		}
		for _, d := range r.ds {
			b.counts(d, 1, 0)
		}
	}},

	{"close-leaves", "It then leaves the group.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		a, b := e.join(tr, t, "g"), e.join(tr, t, "g")
		e.publish(tr, t, "a")
		a.done(a.expect("a")...)
		a.leave()
		e.publish(tr, t, numbered("m", 20)...)
		e.wait(short / 3) // for one who should have gone to take something
		b.expect(numbered("m", 20)...)
	}},

	{"close-returns-receive", "Receive calls under way return.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		got := receiveLater(c, e.Context(), 10)
		e.wait(short / 3)
		c.leave()
		if r := e.outcome(got); len(r.ds) > 0 || !errors.Is(r.err, transport.ErrClosed) {
			e.broken("Receive returned %d deliveries and the error %v", len(r.ds), r.err)
		}
	}},

	{"close-twice", saysAgain, func(e *env) {
		c := e.join(e.open(), e.topic("a"), "g")
		c.leave()
		c.leave()
	}},

	{"close-all-twice", saysAgain, func(e *env) {
		tr := e.open()
		c := e.join(tr, e.topic("a"), "g")
		e.must("Close", tr.Close())
		e.must("Close", tr.Close())
		c.leave()
	}},

	{"close-all", "Subscriptions still open are closed.", func(e *env) {
		tr, other, t := e.open(), e.open(), e.topic("a")
		a, idle := e.join(tr, t, "g"), e.join(tr, e.topic("b"), "g")
		e.publish(tr, t, "a")
		a.expect("a")
		got := receiveLater(idle, e.Context(), 10)
		e.wait(short / 3)
		e.must("Close", tr.Close())
		if r := e.outcome(got); len(r.ds) > 0 || !errors.Is(r.err, transport.ErrClosed) {
			e.broken("Receive returned %d deliveries and the error %v", len(r.ds), r.err)
		}
		b := e.join(other, t, "g")
		b.counts(b.expect("a")[0], 1, 0)
	}},

	{"close-all-quiet", "Close stops everything the transport started, and waits for it.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.joinLeased(tr, t, "g")
		ms := messages("now", "late")
		e.publishAll(tr, t, ms)
		c.failed(c.one(), short)
		c.one()
		e.must("Close", tr.Close())
		e.wait(2 * e.h.Lease)
		if len(c.lost)+len(c.warned) > 0 {
			e.broken("Lost was called %d times and Warn %d times after Close", len(c.lost), len(c.warned))
		}
	}},
}
