package middleware_test

import (
	"context"
	"fmt"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

// A test finds out whether a handler may be called again.
func ExampleDuplicator() {
	total, paid := 0, map[string]bool{}
	adds := func(context.Context, *bus.Delivery) error { total += 10; return nil }
	pays := func(_ context.Context, d *bus.Delivery) error { paid[d.ID] = true; return nil }

	d := bus.NewDelivery(&transport.Delivery{Message: &bus.Message{ID: "1"}}, new(bustest.Recorder))
	_ = middleware.Duplicator()(adds)(context.Background(), d)
	_ = middleware.Duplicator()(pays)(context.Background(), d)
	fmt.Println("adds 10:", total)
	fmt.Println("pays 1:", len(paid))
	// Output:
	// adds 10: 20
	// pays 1: 1
}
