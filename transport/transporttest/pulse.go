package transporttest

import (
	"context"
	"time"

	"github.com/typedbus/typedbus/transport"
)

var pulseClauses = []clause{
	{"pulse-zero", "It is the zero time before the first answer.", func(e *env) {
		c := e.join(e.open(), e.topic("a"), "g")
		p, ok := c.Subscription.(transport.Pulse)
		e.needs(ok, "Pulse")
		if at := p.LastRoundTrip(); !at.IsZero() {
			e.broken("before the first read LastRoundTrip is %v", at)
		}
	}},

	{"pulse-read", "LastRoundTrip is when the broker last answered a read of this subscription, by the local clock.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		p, ok := c.Subscription.(transport.Pulse)
		e.needs(ok, "Pulse")
		from := time.Now()
		e.publish(tr, t, "a")
		c.one()
		if at := p.LastRoundTrip(); at.Before(from) || at.After(time.Now()) {
			e.broken("a read began at %v and has ended; LastRoundTrip is %v, and now it is %v", from, at, time.Now())
		}
	}},

	{"pulse-idle", "An idle subscription hears from its broker at least every ten seconds.", func(e *env) {
		c := e.join(e.open(), e.topic("a"), "g")
		p, ok := c.Subscription.(transport.Pulse)
		e.needs(ok, "Pulse")
		ctx, cancel := context.WithCancel(e.Context())
		got := receiveLater(c, ctx, 1)
		from := time.Now()
		last := time.Time{}
		for beats := 0; beats < 2; e.wait(50 * time.Millisecond) {
			if at := p.LastRoundTrip(); at.After(last) {
				last, beats = at, beats+1
			}
			if silence := time.Since(later(from, last)); silence > 10*time.Second {
				e.broken("an idle subscription has heard nothing for %s", silence)
			}
		}
		cancel()
		e.outcome(got)
	}},
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
