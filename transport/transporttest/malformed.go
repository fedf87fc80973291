package transporttest

import "github.com/typedbus/typedbus/transport"

const saysMalformed = "Such a delivery carries what could be read, and an ID all the same, so that it can be settled like any other."

// injected returns a consumer and the delivery of something that is no message.
func injected(e *env) (*consumer, *transport.Delivery) {
	e.Helper()
	e.needs(e.broker.Inject != nil, "Inject")
	tr, t := e.open(), e.topic("a")
	c := e.join(tr, t, "g")
	e.publish(tr, t, "before")
	e.broker.Inject(t)
	e.publish(tr, t, "after")
	ds := c.all(3)
	for _, d := range []*transport.Delivery{ds[0], ds[2]} {
		if d.Malformed != nil {
			e.broken("the good message %q is called malformed: %v", d.Body, d.Malformed)
		}
		c.done(d)
	}
	return c, ds[1]
}

var malformedClauses = []clause{
	{"malformed-said", "Malformed is nil, or says why what was stored is no message of this transport's format.", func(e *env) {
		if _, d := injected(e); d.Malformed == nil {
			e.broken("Malformed is nil")
		}
	}},

	{"malformed-settled", saysMalformed, func(e *env) {
		c, d := injected(e)
		if d.Message == nil || d.ID == "" {
			e.broken("there is no Message, or its ID is empty")
		}
		id := d.ID
		c.counts(d, 1, 0)
		c.failed(d, 0)
		d = c.one()
		c.counts(d, 2, 0)
		c.settle(transport.Settlement{Delivery: d, Verdict: transport.Deferred, After: short})
		d = c.one()
		c.counts(d, 2, 0)
		if d.Malformed == nil || d.ID != id {
			e.broken("it came again with Malformed %v and ID %q; the ID was %q", d.Malformed, d.ID, id)
		}
		c.dead(d)
		c.silent()
	}},

	{"malformed-done", saysMalformed, func(e *env) {
		c, d := injected(e)
		c.done(d)
		c.leave()
		e.join(e.open(), e.topic("a"), "g").silent()
	}},
}
