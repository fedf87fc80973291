package telemetry_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware/telemetry"
	"github.com/typedbus/typedbus/transport/memory"
)

type order struct{ ID string }

var orderPlaced = bus.NewTopic("orders.placed", codec.JSON[order]())

// A service has telemetry around what it handles and what it publishes. The trace of the request that published an event goes on in
// whoever handles it.
func Example() {
	tel := telemetry.New(telemetry.Options{System: "memory"})
	b := bus.New(memory.New(), bus.Use(tel.Handle), bus.UseSend(tel.Send))
	registration, err := tel.Observe(b) // lag, pending, dead letters
	if err != nil {
		fmt.Println(err)
		return
	}
	defer registration.Unregister()

	ctx, stop := context.WithCancel(context.Background())
	orderPlaced.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[order]) error {
		fmt.Println("handling order", e.Payload.ID, "in trace", trace.SpanContextFromContext(ctx).TraceID())
		stop()
		return nil
	})

	// In a service this span would be that of an HTTP request.
	request := trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{7: 1}}))
	if err := orderPlaced.Publish(request, b, order{ID: "42"}); err != nil {
		fmt.Println(err)
	}
	if err := b.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// handling order 42 in trace 00000000000000000000000000000001
}
