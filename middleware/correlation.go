package middleware

import (
	"context"
	"unicode"
	"unicode/utf8"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// The headers of [Correlation].
const (
	correlationHeader = "correlation-id"
	causationHeader   = "causation-id"
)

// Correlation puts on everything that is published while an event is handled the header "causation-id", the id of that event,
// and "correlation-id", which is the same for all that followed from one event: that of the event being handled, or its id if
// it has none. Use both halves, on every bus on the way:
//
//	var c middleware.Correlation
//	b := bus.New(tr, bus.Use(c.Handle), bus.UseSend(c.Send))
//
// The ids travel in the context: what is published with a context that does not come from the handler's has none. A batch
// ([bus.Batched]) has one context, that of its first event: whatever is published with it has the ids of that event, though through
// another; set the headers with [bus.Header] where they must tell. Headers
// that a message has already stay as they are, so that the first one in a chain, a web server, may set "correlation-id" itself
// ([bus.Header]).
//
// Others may have written the headers, so an id counts only if it is 1 to 256 bytes of printable text in UTF-8; any other is
// as good as absent, and is not passed on.
//
// The zero value is ready. It may be used for many subscriptions, concurrently.
type Correlation struct{}

type correlationKey struct{}

// Handle is a [bus.Middleware]: it puts the ids of the event being handled into the context.
func (Correlation) Handle(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		return next(context.WithValue(ctx, correlationKey{}, d.Message), d)
	}
}

// CorrelationOf returns the ids that what is published with ctx gets, for logs: each "" if there is none.
func CorrelationOf(ctx context.Context) (correlation, causation string) {
	m, ok := ctx.Value(correlationKey{}).(*bus.Message)
	if !ok {
		return "", ""
	}
	causation = trusted(m.ID)
	if correlation = trusted(m.Headers.Get(correlationHeader)); correlation == "" {
		correlation = causation
	}
	return correlation, causation
}

// trusted returns an id that can be shown and passed on, or "".
func trusted(id string) string {
	if len(id) > 256 || !utf8.ValidString(id) {
		return ""
	}
	for _, r := range id {
		if !unicode.IsPrint(r) {
			return ""
		}
	}
	return id
}

// Send is a [bus.SendMiddleware]: it sets the headers, in copies of the messages.
func (Correlation) Send(next bus.Sender) bus.Sender {
	return func(ctx context.Context, t transport.Topic, ms []*bus.Message) error {
		correlation, causation := CorrelationOf(ctx)
		if correlation == "" && causation == "" {
			return next(ctx, t, ms)
		}
		marked := make([]*bus.Message, len(ms))
		for i, m := range ms {
			marked[i] = withHeader(withHeader(m, correlationHeader, correlation), causationHeader, causation)
		}
		return next(ctx, t, marked)
	}
}

// withHeader returns m, or a copy that has the header.
func withHeader(m *bus.Message, name, value string) *bus.Message {
	if m == nil || value == "" {
		return m
	}
	if _, ok := m.Headers.Lookup(name); ok {
		return m
	}
	c := *m
	c.Headers.Set(name, value)
	return &c
}
