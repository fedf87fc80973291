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

type parcel struct{ Grams int }

func (p parcel) Validate() error {
	if p.Grams <= 0 {
		return errors.New("grams: must be positive")
	}
	return nil
}

// The method Validate is found by itself. What only this subscription asks for is a check.
func ExampleValidate() {
	light := func(p parcel) error {
		if p.Grams > 1000 {
			return errors.New("grams: too heavy for a bicycle")
		}
		return nil
	}
	deliver := bus.Wrap(func(context.Context, *bus.Event[parcel]) error { return nil }, middleware.Validate(light))

	d := bus.NewDelivery(&transport.Delivery{Message: &bus.Message{ID: "1"}}, new(bustest.Recorder))
	for _, grams := range []int{500, 0, 5000} {
		err := deliver(context.Background(), &bus.Event[parcel]{Delivery: d, Payload: parcel{Grams: grams}})
		fmt.Printf("%s: %v\n", bus.VerdictOf(err).Kind, err)
	}
	// Output:
	// handled: <nil>
	// permanently failed: middleware: invalid payload: grams: must be positive
	// permanently failed: middleware: invalid payload: grams: too heavy for a bicycle
}
