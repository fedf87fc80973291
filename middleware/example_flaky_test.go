package middleware_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

// A test sees what becomes of events when half of the deliveries fail, the same ones each time it runs.
func ExampleFlaky() {
	handle := func(_ context.Context, d *bus.Delivery) error { fmt.Print("handled, "); return nil }
	h := middleware.Flaky(1, 0.5)(handle)
	for attempt := 1; ; attempt++ {
		d := &transport.Delivery{Message: &bus.Message{ID: "order-18"}, Attempt: attempt}
		err := h(context.Background(), bus.NewDelivery(d, new(bustest.Recorder)))
		fmt.Println("failed on purpose:", errors.Is(err, middleware.ErrFlaky))
		if err == nil {
			break
		}
	}
	// Output:
	// handled, failed on purpose: true
	// failed on purpose: true
	// handled, failed on purpose: false
}
