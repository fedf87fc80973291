package telemetrytest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// BenchmarkFloor is what the SDK takes by itself for a span that is not sampled and for a measurement, with as many attributes as
// ours have: nothing that makes them is cheaper.
func BenchmarkFloor(b *testing.B) {
	as := []attribute.KeyValue{attribute.String("a", "1"), attribute.String("b", "2"), attribute.String("c", "3"), attribute.String("d", "4"), attribute.String("e", "5")}
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample()))).Tracer("floor")
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())).Meter("floor")
	counter, err := meter.Int64Counter("counter")
	require.NoError(b, err)
	histogram, err := meter.Float64Histogram("histogram", metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10))
	require.NoError(b, err)
	set := metric.WithAttributeSet(attribute.NewSet(as...))
	add, record := []metric.AddOption{set}, []metric.RecordOption{set}
	start := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(as...)}
	c := propagation.MapCarrier{"traceparent": foreign[:53] + "00"}
	remote := propagation.TraceContext{}.Extract(b.Context(), c)
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"start", func() { _, span := tracer.Start(remote, "x", start...); span.End() }},
		{"add", func() { counter.Add(remote, 1, add...) }},
		{"record", func() { histogram.Record(remote, 0.01, record...) }},
		{"extract", func() { propagation.TraceContext{}.Extract(b.Context(), c) }},
		{"inject", func() { propagation.TraceContext{}.Inject(remote, propagation.MapCarrier{}) }},
	} {
		b.Run(step.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				step.do()
			}
		})
	}
}
