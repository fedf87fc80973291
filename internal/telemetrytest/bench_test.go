package telemetrytest

import (
	"context"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/middleware/telemetry"
	"github.com/typedbus/typedbus/transport"
)

// nowhere takes spans and forgets them.
type nowhere struct{}

func (nowhere) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (nowhere) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (nowhere) Shutdown(context.Context) error                  { return nil }
func (nowhere) ForceFlush(context.Context) error                { return nil }

func benchmark(b *testing.B, run func(*testing.B, *telemetry.Telemetry)) {
	for _, c := range []struct {
		name    string
		sampler sdktrace.Sampler
	}{{"sampled", sdktrace.AlwaysSample()}, {"unsampled", sdktrace.NeverSample()}} {
		b.Run(c.name, func(b *testing.B) {
			tel := telemetry.New(telemetry.Options{
				TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSampler(c.sampler), sdktrace.WithSpanProcessor(nowhere{})),
				MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
			})
			b.ReportAllocs()
			run(b, tel)
		})
	}
}

func BenchmarkHandle(b *testing.B) {
	d := bus.NewDelivery(&transport.Delivery{Message: &bus.Message{ID: "1", Headers: transport.Headers{{Name: "traceparent", Value: foreign}}},
		Topic: "orders.placed", Group: "billing", Attempt: 1, Receipt: "r"}, nil)
	benchmark(b, func(b *testing.B, tel *telemetry.Telemetry) {
		handle := tel.Handle(func(context.Context, *bus.Delivery) error { return nil })
		for b.Loop() {
			if err := handle(b.Context(), d); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSend(b *testing.B) {
	ms := []*bus.Message{{ID: "1"}}
	benchmark(b, func(b *testing.B, tel *telemetry.Telemetry) {
		send := tel.Send(func(context.Context, transport.Topic, []*bus.Message) error { return nil })
		for b.Loop() {
			if err := send(b.Context(), transport.Topic{Name: "orders.placed"}, ms); err != nil {
				b.Fatal(err)
			}
		}
	})
}
