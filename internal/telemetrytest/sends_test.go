package telemetrytest

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware/telemetry"
	"github.com/typedbus/typedbus/transport"
)

const foreign = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestPublishWhileHandling(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	orders.Subscribe(r.Bus, "billing", func(ctx context.Context, e *bus.Event[note]) error {
		return errors.Join(invoices.Publish(ctx, e, e.Payload), parcels.Publish(ctx, r, e.Payload))
	})
	r.run(func() { require.NoError(t, orders.Publish(t.Context(), r, note{})) })
	process := r.one("process orders.placed")
	for name, staged := range map[string]string{"send invoices.issued": "true", "send parcels.sent": ""} {
		send := r.one(name)
		require.Equal(t, process.SpanContext().SpanID(), send.Parent().SpanID())
		require.Equal(t, trace.SpanKindProducer, send.SpanKind())
		require.Equal(t, staged, text(send.Attributes())["typedbus.publish.staged"])
	}
	require.Equal(t, map[string]uint64{"orders.placed": 1, "parcels.sent": 1},
		r.durations("messaging.client.operation.duration", "messaging.destination.name"), "staging takes no time worth measuring")
	require.Equal(t, map[string]int64{"orders.placed": 1, "parcels.sent": 1, "invoices.issued": 1},
		r.sums("messaging.client.sent.messages", "messaging.destination.name"))
}

func TestPublishAll(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	orders.Subscribe(r.Bus, "billing", done)
	r.run(func() { require.NoError(t, orders.PublishAll(t.Context(), r, make([]note, 5))) })
	send := r.one("send orders.placed")
	as := text(send.Attributes())
	require.Equal(t, "5", as["messaging.batch.message_count"])
	require.NotContains(t, as, "messaging.message.id")
	require.Empty(t, send.Links())
	processed := r.named("process orders.placed")
	require.Len(t, processed, 5)
	for _, p := range processed {
		require.Equal(t, send.SpanContext().SpanID(), p.Parent().SpanID())
	}
	require.Equal(t, map[string]int64{"orders.placed": 5}, r.sums("messaging.client.sent.messages", "messaging.destination.name"))
}

// A message that has a context, as one from an outbox, keeps it.
func TestContextOfTheMessageIsKept(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	seen := make(chan transport.Headers, 2)
	orders.Subscribe(r.Bus, "billing", func(_ context.Context, e *bus.Event[note]) error { seen <- e.Headers; return nil })
	r.run(func() {
		require.NoError(t, orders.Publish(t.Context(), r, note{}, bus.Header("traceparent", foreign), bus.Header("tracestate", "v=1")))
	})
	send, process := r.one("send orders.placed"), r.one("process orders.placed")
	require.Equal(t, trace.SpanKindClient, send.SpanKind())
	require.Len(t, send.Links(), 1)
	require.Equal(t, "b7ad6b7169203331", send.Links()[0].SpanContext.SpanID().String())
	require.Equal(t, "b7ad6b7169203331", process.Parent().SpanID().String())
	require.Equal(t, transport.Headers{{Name: "traceparent", Value: foreign}, {Name: "tracestate", Value: "v=1"}}, <-seen)
}

func TestSomeMessagesHaveAContext(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	var stored []*bus.Message
	send := r.tel.Send(func(_ context.Context, _ transport.Topic, ms []*bus.Message) error { stored = ms; return nil })
	mine := &bus.Message{ID: "mine", Headers: transport.Headers{{Name: "traceparent", Value: foreign}}}
	bad := &bus.Message{ID: "bad", Headers: transport.Headers{{Name: "a", Value: "1"}, {Name: "traceparent", Value: "garbage"}}}
	given := []*bus.Message{mine, bad, nil}
	require.NoError(t, send(t.Context(), transport.Topic{Name: "t"}, given))

	span := r.one("send t")
	require.Equal(t, trace.SpanKindProducer, span.SpanKind())
	require.Len(t, span.Links(), 1)
	require.Equal(t, map[string]string{"messaging.message.id": "mine"}, text(span.Links()[0].Attributes))
	require.Same(t, mine, stored[0])
	require.Nil(t, stored[2])
	require.Equal(t, "1", stored[1].Headers.Get("a"))
	require.Contains(t, stored[1].Headers.Get("traceparent"), span.SpanContext().SpanID().String(), "garbage is replaced")
	require.Len(t, stored[1].Headers, 2)
	require.Equal(t, "garbage", bad.Headers.Get("traceparent"), "messages given are not changed")
	require.Same(t, bad, given[1])
}

// Trying again with the same messages is another send with a context of its own.
func TestSendAgain(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	var parents []string
	send := r.tel.Send(func(_ context.Context, _ transport.Topic, ms []*bus.Message) error {
		parents = append(parents, ms[0].Headers.Get("traceparent"))
		return nil
	})
	m := &bus.Message{ID: "1"}
	for range 2 {
		require.NoError(t, send(t.Context(), transport.Topic{Name: "t"}, []*bus.Message{m}))
	}
	require.NotEqual(t, parents[0], parents[1])
	for _, s := range r.named("send t") {
		require.Equal(t, trace.SpanKindProducer, s.SpanKind())
		require.Empty(t, s.Links())
	}
}

func TestSendFails(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		class string
		sent  map[string]int64
	}{
		"refused": {&transport.PublishError{Outcomes: make([]transport.Outcome, 3), Err: transport.ErrNoRoom}, "no_room", map[string]int64{"no_room": 3}},
		"in part": {&transport.PublishError{Outcomes: []transport.Outcome{transport.Stored, transport.Unknown, transport.NotStored}, Err: errors.New(inError)},
			"publish_unknown", map[string]int64{"": 1, "publish_unknown": 2}},
		"closed": {transport.ErrClosed, "closed", map[string]int64{"closed": 3}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, telemetry.Options{})
			send := r.tel.Send(func(context.Context, transport.Topic, []*bus.Message) error { return c.err })
			err := send(t.Context(), transport.Topic{Name: "t"}, []*bus.Message{{ID: "1"}, {ID: "2"}, {ID: "3"}})
			require.Equal(t, c.err, err, "the error passes as it is")
			span := r.one("send t")
			require.Equal(t, codes.Error, span.Status().Code)
			require.Empty(t, span.Status().Description)
			require.Equal(t, c.class, text(span.Attributes())["error.type"])
			require.Equal(t, c.sent, r.sums("messaging.client.sent.messages", "error.type"))
			require.Equal(t, map[string]uint64{c.class: 1}, r.durations("messaging.client.operation.duration", "error.type"))
		})
	}
}

func TestSendPanics(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	send := r.tel.Send(func(context.Context, transport.Topic, []*bus.Message) error { panic(inError) })
	require.PanicsWithValue(t, inError, func() {
		_ = send(t.Context(), transport.Topic{Name: "t"}, []*bus.Message{{ID: "1"}})
	})
	require.Equal(t, "panic", text(r.one("send t").Attributes())["error.type"])
}

func TestNothingToSend(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	require.NoError(t, r.Send(t.Context(), transport.Topic{Name: "t"}))
	require.Empty(t, r.spans.Ended())
}

func TestPropagators(t *testing.T) {
	headers := func(t *testing.T, o telemetry.Options) (names []string) {
		r := newRig(t, o)
		send := r.tel.Send(func(_ context.Context, _ transport.Topic, ms []*bus.Message) error {
			for _, h := range ms[0].Headers {
				names = append(names, h.Name)
			}
			return nil
		})
		require.NoError(t, send(t.Context(), transport.Topic{Name: "t"}, []*bus.Message{{ID: "1"}}))
		return names
	}
	require.Equal(t, []string{"traceparent"}, headers(t, telemetry.Options{}), "traces connect where nobody set a propagator")
	require.Empty(t, headers(t, telemetry.Options{Propagator: propagation.NewCompositeTextMapPropagator()}))
	require.Equal(t, []string{"x-trace"}, headers(t, telemetry.Options{Propagator: odd{}}), "what no transport stores is left out")

	t.Cleanup(func() { otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator()) })
	otel.SetTextMapPropagator(odd{})
	require.Equal(t, []string{"x-trace"}, headers(t, telemetry.Options{}), "the global one, if there is one")
}

// odd is a propagator whose names not every transport takes.
type odd struct{}

func (odd) Inject(_ context.Context, c propagation.TextMapCarrier) {
	c.Set("x-trace", "1")
	c.Set("x-trace", "2")
	c.Set("x y", "3")
	c.Set("", "4")
}

func (odd) Extract(ctx context.Context, _ propagation.TextMapCarrier) context.Context { return ctx }
func (odd) Fields() []string                                                          { return []string{"x-trace"} }

// A recorder of a test is a publisher that no middleware is around; a handler called by hand works too.
func TestHandledByNoBus(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	e := bustest.NewEvent(t, nil, orders, note{})
	handle := r.tel.Handle(func(context.Context, *bus.Delivery) error { return bus.DeadLetter("broken", nil) })
	require.Error(t, handle(t.Context(), e.Delivery))
	require.Len(t, r.named("dead_letter orders.placed"), 1)
}
