package transporttest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/typedbus/typedbus/transport"
)

var publishClauses = []clause{
	{"publish-order", "Publish stores ms in order and returns nil when all of them are stored.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		want := numbered("m", 250)
		e.publish(tr, t, want[:200]...)
		e.publish(tr, t)
		e.publish(tr, t, want[200:201]...)
		e.publish(tr, t, want[201:]...)
		if got := texts(c.all(len(want))); !slices.Equal(got, want) {
			e.broken("the messages came as %s", few(got))
		}
		c.silent()
	}},

	{"publish-outcomes", "Otherwise it returns a [*PublishError] that tells, message by message, whether it is stored, not stored, or unknown.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		publishCancelled(e, tr, t)
	}},

	{"publish-outcomes-true", "A message whose outcome is stored or not stored is exactly that; Publish never repeats one by itself.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		ms, outcomes := publishCancelled(e, tr, t)
		e.publish(tr, t, "last")
		got := map[string]int{}
		for range len(ms) + 1 {
			d := c.one()
			if string(d.Body) == "last" {
				break
			}
			got[d.ID]++
		}
		for i, m := range ms {
			switch n := got[m.ID]; {
			case n > 1:
				e.broken("message %d was delivered %d times", i, n)
			case outcomes[i] == transport.Stored && n == 0:
				e.broken("message %d has the outcome stored, but did not come", i)
			case outcomes[i] == transport.NotStored && n > 0:
				e.broken("message %d has the outcome not stored, but it came", i)
			}
		}
		c.silent()
	}},

	{"publish-keeps-nothing", "Publish does not keep ms, nor anything they point to, after it has returned: the caller may change them.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		c := e.join(tr, t, "g")
		ms := messages("aaaa", "bbbb", "late")
		ms[2].NotBefore = time.Now().Add(short)
		var want []*transport.Message
		for _, m := range ms {
			m.Key, m.Headers = "k", transport.Headers{{Name: "h", Value: "v"}}
			want = append(want, m.Clone())
		}
		e.publishAll(tr, t, ms)
		for i, m := range ms {
			copy(m.Body, "XXXX")
			m.Headers[0].Value = "changed"
			m.ID, m.Key, ms[i] = "changed", "changed", nil
		}
		for i, d := range append(c.all(2), c.one()) {
			e.same(d.Message, want[i])
		}
	}},

	{"publish-closed", "After Close it returns an error that wraps [ErrClosed], and stores nothing.", func(e *env) {
		tr, other, t := e.open(), e.open(), e.topic("a")
		c := e.join(other, t, "g")
		e.must("Close", tr.Close())
		if err := tr.Publish(e.Context(), t, messages("after")); !errors.Is(err, transport.ErrClosed) {
			e.broken("Publish returned %v", err)
		}
		c.silent()
	}},
}

// publishCancelled publishes with a context that has ended, and returns what the transport says became of the messages.
func publishCancelled(e *env, tr transport.Transport, t transport.Topic) ([]*transport.Message, []transport.Outcome) {
	e.Helper()
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	ms := messages(numbered("m", 10)...)
	return ms, e.outcomes(tr.Publish(ctx, t, ms), len(ms))
}

// outcomes reads the error of a Publish.
func (e *env) outcomes(err error, n int) []transport.Outcome {
	e.Helper()
	if err == nil {
		return slices.Repeat([]transport.Outcome{transport.Stored}, n)
	}
	var pe *transport.PublishError
	if !errors.As(err, &pe) {
		e.broken("Publish returned a %T: %v", err, err)
	}
	if len(pe.Outcomes) != n || pe.Err == nil {
		e.broken("the error tells of %d messages, and the cause is %v; there were %d", len(pe.Outcomes), pe.Err, n)
	}
	if !slices.ContainsFunc(pe.Outcomes, func(o transport.Outcome) bool { return o != transport.Stored }) {
		e.broken("there is an error, %v, but all outcomes are stored", err)
	}
	return pe.Outcomes
}

// same compares a delivered message with the published one.
func (e *env) same(got, want *transport.Message) {
	e.Helper()
	if got.ID != want.ID || got.Key != want.Key || got.ContentType != want.ContentType {
		e.broken("ID, Key, ContentType came as %q, %q, %q; they were %q, %q, %q",
			got.ID, got.Key, got.ContentType, want.ID, want.Key, want.ContentType)
	}
	if string(got.Body) != string(want.Body) {
		e.broken("the body came as %.60q (%d bytes); it was %.60q (%d bytes)", got.Body, len(got.Body), want.Body, len(want.Body))
	}
	if len(got.Headers) != len(want.Headers) {
		e.broken("there were %d headers: %.200q; now there are %d: %.200q", len(want.Headers), want.Headers, len(got.Headers), got.Headers)
	}
	for _, h := range want.Headers {
		if v, ok := got.Headers.Lookup(h.Name); !ok || v != h.Value {
			e.broken("header %q came as %.60q; it was %.60q", h.Name, v, h.Value)
		}
	}
}
