package transporttest

import (
	"errors"
	"slices"

	"github.com/typedbus/typedbus/transport"
)

var durableClauses = []clause{
	{"durable-stored", "Where they do not have it in time it is stored all the same: the error is a [*PublishError] with the outcome Stored for each message that is, and wraps a [*DurabilityError].", func(e *env) {
		tr, t := e.open(), e.topic("a")
		t.Durable = transport.Durability{Replicas: 9, Timeout: short}
		c := e.join(tr, t, "g")
		want := numbered("m", 3)
		ctx, cancel := e.patient()
		defer cancel()
		if err := tr.Publish(ctx, t, messages(want...)); err != nil {
			var all *transport.PublishError
			var few *transport.DurabilityError
			if !errors.As(err, &all) || !slices.Equal(all.Outcomes, slices.Repeat([]transport.Outcome{transport.Stored}, 3)) {
				e.broken("Publish returned %v", err)
			}
			if !errors.As(err, &few) || few.Want != 9 || few.Have >= 9 {
				e.broken("it does not say how many replicas have it: %v", err)
			}
		}
		c.done(c.expect(want...)...)
		c.silent()
	}},
}
