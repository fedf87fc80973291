package middleware_test

import (
	"context"
	"fmt"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/memory"
)

// Whatever follows from one request has its id, from service to service.
func ExampleCorrelation() {
	ordered, invoiced := bus.NewTopic("ordered", codec.JSON[string]()), bus.NewTopic("invoiced", codec.JSON[string]())
	ctx, stop := context.WithCancel(context.Background())

	var c middleware.Correlation
	b := bus.New(memory.New(), bus.Use(c.Handle), bus.UseSend(c.Send))
	ordered.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[string]) error {
		return invoiced.Publish(ctx, e, "invoice for "+e.Payload)
	})
	invoiced.Subscribe(b, "mail", func(ctx context.Context, e *bus.Event[string]) error {
		correlation, _ := middleware.CorrelationOf(ctx)
		fmt.Printf("%s, because of event %s, all for %s\n", e.Payload, e.Headers.Get("causation-id"), correlation)
		stop()
		return nil
	})
	_ = ordered.Publish(ctx, b, "a cup", bus.ID("o-1"), bus.Header("correlation-id", "request-7"))
	_ = b.Run(ctx)
	// Output: invoice for a cup, because of event o-1, all for request-7
}
