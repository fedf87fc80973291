package telemetry_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/middleware/telemetry"
	"github.com/typedbus/typedbus/transport"
)

// Spans and metrics are looked at in internal/telemetrytest, which has the SDK. Here there is none, as in a process without one.

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func delivery(hs ...transport.Header) *bus.Delivery {
	return bus.NewDelivery(&transport.Delivery{
		Message: &transport.Message{ID: "1", Headers: hs}, Topic: "orders.placed", Group: "billing", Attempt: 1, Receipt: "r",
	}, nil)
}

// A service that has no SDK passes the trace on to those that have.
func TestTracePassesThroughWithoutSDK(t *testing.T) {
	tel := telemetry.New(telemetry.Options{})
	var sent transport.Headers
	send := tel.Send(func(_ context.Context, _ transport.Topic, ms []*bus.Message) error { sent = ms[0].Headers; return nil })
	handle := tel.Handle(func(ctx context.Context, d *bus.Delivery) error {
		require.Equal(t, "0af7651916cd43dd8448eb211c80319c", trace.SpanContextFromContext(ctx).TraceID().String())
		return send(ctx, transport.Topic{Name: "invoices.issued"}, []*bus.Message{{ID: "2"}})
	})
	require.NoError(t, handle(t.Context(), delivery(transport.Header{Name: "traceparent", Value: traceparent})))
	require.Equal(t, transport.Headers{{Name: "traceparent", Value: traceparent}}, sent)
}

func TestNoTraceLeavesMessagesAlone(t *testing.T) {
	m := &bus.Message{ID: "1", Headers: transport.Headers{{Name: "a", Value: "1"}}}
	send := telemetry.New(telemetry.Options{}).Send(func(_ context.Context, _ transport.Topic, ms []*bus.Message) error {
		require.Same(t, m, ms[0])
		return nil
	})
	require.NoError(t, send(t.Context(), transport.Topic{Name: "t"}, []*bus.Message{m}))
}

func TestVerdictsPassUnchanged(t *testing.T) {
	tel := telemetry.New(telemetry.Options{SettleSpans: true})
	for _, err := range []error{nil, context.Canceled, bus.Snooze(1, nil), bus.Pause(1, nil), bus.Permanent(context.Canceled), bus.DeadLetter("x", nil)} {
		handle := tel.Handle(func(context.Context, *bus.Delivery) error { return err })
		require.Equal(t, err, handle(t.Context(), delivery()))
	}
}

// What a user set stays, whatever a propagator writes; a name occurs once; nobody's headers change.
func TestHeadersAreCopied(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "traceparent", "tracestate", "Traceparent", "baggage"})
	tel := telemetry.New(telemetry.Options{})
	rapid.Check(t, func(t *rapid.T) {
		var before transport.Headers
		for _, name := range rapid.SliceOfN(names, 0, 5).Draw(t, "names") {
			before.Set(name, rapid.SampledFrom([]string{"", "x", traceparent}).Draw(t, "value"))
		}
		kept := append(transport.Headers(nil), before...)
		ctx := t.Context()
		if rapid.Bool().Draw(t, "traced") {
			ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: [16]byte{1}, SpanID: [8]byte{2}}))
		}
		var after transport.Headers
		send := tel.Send(func(_ context.Context, _ transport.Topic, ms []*bus.Message) error { after = ms[0].Headers; return nil })
		m := &bus.Message{ID: "1", Headers: before}
		require.NoError(t, send(ctx, transport.Topic{Name: "t"}, []*bus.Message{m}))
		require.Equal(t, kept, before)
		require.Equal(t, kept, m.Headers)
		count := map[string]int{}
		for _, h := range after {
			count[h.Name]++
			require.Equal(t, 1, count[h.Name])
		}
		for _, h := range before {
			if h.Name != "traceparent" || h.Value == traceparent {
				require.Equal(t, h.Value, after.Get(h.Name))
			}
		}
	})
}

// What is further in may change the headers of one message, and not those of another by that.
func TestMessagesShareNoHeaders(t *testing.T) {
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: [16]byte{1}, SpanID: [8]byte{2}}))
	send := telemetry.New(telemetry.Options{}).Send(func(_ context.Context, _ transport.Topic, ms []*bus.Message) error {
		ms[0].Headers[0].Value = "changed"
		require.NotEqual(t, "changed", ms[1].Headers[0].Value)
		require.NotSame(t, ms[0], ms[1])
		return nil
	})
	require.NoError(t, send(ctx, transport.Topic{Name: "t"}, []*bus.Message{{ID: "1"}, {ID: "2"}}))
	require.Panics(t, func() { _ = send(ctx, transport.Topic{Name: "t"}, []*bus.Message{nil}) }, "a nil message is passed on, for the transport to refuse")
}

// A header is written by whoever publishes: no value of it may keep an event from its handler.
func FuzzHostileHeaders(f *testing.F) {
	for _, s := range []string{"", traceparent, "00-0-0-0", "ff-" + traceparent[3:], traceparent + "-x", "\x00\xff", "k=v,k=v;p"} {
		f.Add(s, s, s)
	}
	handled := 0
	tel := telemetry.New(telemetry.Options{})
	handle := tel.Handle(func(context.Context, *bus.Delivery) error { handled++; return nil })
	f.Fuzz(func(t *testing.T, parent, state, baggage string) {
		before := handled
		d := delivery(transport.Header{Name: "traceparent", Value: parent}, transport.Header{Name: "tracestate", Value: state}, transport.Header{Name: "baggage", Value: baggage})
		if err := handle(t.Context(), d); err != nil || handled != before+1 {
			t.Fatalf("%v, handled %d times", err, handled-before)
		}
	})
}

func BenchmarkHandle(b *testing.B) {
	handle := telemetry.New(telemetry.Options{}).Handle(func(context.Context, *bus.Delivery) error { return nil })
	d := delivery(transport.Header{Name: "traceparent", Value: traceparent})
	b.ReportAllocs()
	for b.Loop() {
		if err := handle(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	send := telemetry.New(telemetry.Options{}).Send(func(context.Context, transport.Topic, []*bus.Message) error { return nil })
	ms := []*bus.Message{{ID: "1"}}
	b.ReportAllocs()
	for b.Loop() {
		if err := send(b.Context(), transport.Topic{Name: "orders.placed"}, ms); err != nil {
			b.Fatal(err)
		}
	}
}
