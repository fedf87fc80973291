package telemetry

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/transport"
)

// What is read and written here must be what package propagation reads and writes.
var propagators = []propagation.TextMapPropagator{
	propagation.TraceContext{},
	propagation.NewCompositeTextMapPropagator(),
	propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}),
	propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
	propagation.NewCompositeTextMapPropagator(propagation.Baggage{}, propagation.TraceContext{}),
	propagation.Baggage{},
	propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, foreign{}),
}

// foreign has its say after W3C Trace Context.
type foreign struct{}

func (foreign) Fields() []string { return []string{"x"} }

func (foreign) Inject(_ context.Context, c propagation.TextMapCarrier) { c.Set("x", "y") }

func (foreign) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	if c.Get("baggage") == "" {
		return ctx
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{9}, SpanID: trace.SpanID{9}})
	return trace.ContextWithRemoteSpanContext(ctx, sc)
}

func TestShortCutsAreTaken(t *testing.T) {
	for i, short := range []bool{true, false, true, true, false, false, true} {
		require.Equal(t, short, newPropagator(propagators[i]).w3c, "%d", i)
	}
	require.Nil(t, newPropagator(propagators[2]).rest)
	require.NotNil(t, newPropagator(propagators[3]).rest)
}

const plain = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func FuzzHeadersReadAsByThePropagator(f *testing.F) {
	for _, s := range []string{plain, "", "00-0-0-0", plain[:54] + "3", plain[:54] + "4", plain[:53] + "1" + plain[54:], "01" + plain[2:], "ff" + plain[2:], plain + "-x",
		"00-" + "00000000000000000000000000000000" + plain[35:], plain[:36] + "0000000000000000" + plain[52:], "00-0AF7651916cd43dd8448eb211c80319c" + plain[35:],
		plain[:35] + "_" + plain[36:], plain[:52] + "_" + plain[53:], plain[:2] + "_" + plain[3:]} {
		f.Add(s, "", "")
		f.Add(s, "k=v", "a=b")
		f.Add(s, "", "a=b")
	}
	f.Fuzz(func(t *testing.T, parent, state, bag string) {
		for i, p := range propagators {
			h := transport.Headers{{Name: "x", Value: "y"}, {Name: "traceparent", Value: parent}}
			if state != "" {
				h = append(h, transport.Header{Name: "tracestate", Value: state})
			}
			if bag != "" {
				h = append(h, transport.Header{Name: "baggage", Value: bag})
			}
			want := p.Extract(t.Context(), carrier{&h})
			got, sc := newPropagator(p).extract(t.Context(), &h)
			require.Equal(t, trace.SpanContextFromContext(want), sc, "%d", i)
			require.Equal(t, trace.SpanContextFromContext(want), trace.SpanContextFromContext(got), "%d", i)
			require.Equal(t, baggage.FromContext(want).String(), baggage.FromContext(got).String(), "%d", i)
		}
	})
}

func TestHeadersAreWrittenAsByThePropagator(t *testing.T) {
	state, err := trace.ParseTraceState("k=v")
	require.NoError(t, err)
	bag, err := baggage.Parse("a=b")
	require.NoError(t, err)
	for flags := range trace.TraceFlags(8) {
		for _, c := range []trace.SpanContextConfig{
			{}, {TraceID: trace.TraceID{1, 0xab}, SpanID: trace.SpanID{2, 0xff}}, {TraceID: trace.TraceID{1}}, {SpanID: trace.SpanID{2}},
			{TraceID: trace.TraceID{1, 0xab}, SpanID: trace.SpanID{2, 0xff}, TraceState: state},
		} {
			c.TraceFlags = flags
			ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(c))
			for _, ctx := range []context.Context{ctx, baggage.ContextWithBaggage(ctx, bag)} {
				for i, p := range propagators {
					want := injected(ctx, p, nil)
					require.Equal(t, want, newPropagator(p).inject(ctx, nil), "%d: %+v", i, c)
				}
			}
		}
	}
}
