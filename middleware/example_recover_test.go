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

// A panic is a failure like any other to the middleware further out.
func ExampleRecover() {
	report := func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			err := next(ctx, d)
			var p *bus.PanicError
			fmt.Println(err)
			fmt.Println("a panic:", errors.As(err, &p), "with its stack:", p != nil && len(p.Stack) > 0)
			return err
		}
	}
	handle := func(context.Context, *bus.Delivery) error { panic("no cup left") }
	d := bus.NewDelivery(&transport.Delivery{Message: &bus.Message{ID: "1"}}, new(bustest.Recorder))
	_ = report(middleware.Recover()(handle))(context.Background(), d)
	// Output:
	// bus: the handler panicked: no cup left
	// a panic: true with its stack: true
}
