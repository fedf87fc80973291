package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

// A handler that passes its context on is back as soon as its time is over.
func ExampleTimeout() {
	slow := func(ctx context.Context, _ *bus.Delivery) error {
		select {
		case <-time.After(time.Hour): // a call to something slow
			return nil
		case <-ctx.Done():
			return errors.New("no answer from the bank")
		}
	}
	d := bus.NewDelivery(&transport.Delivery{Message: &bus.Message{ID: "1"}}, new(bustest.Recorder))
	err := middleware.Timeout(10*time.Millisecond, nil)(slow)(context.Background(), d)
	fmt.Println(err)
	var late *middleware.TimeoutError
	fmt.Println(errors.As(err, &late))
	// Output:
	// middleware: handler took longer than 10ms: no answer from the bank
	// true
}
