// Quickstart is the first program of the README.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport/memory"
)

type Order struct {
	ID    string
	Cents int
}

var OrderPlaced = bus.NewTopic("orders.placed", codec.JSON[Order]())

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	b := bus.New(memory.New())

	OrderPlaced.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
		fmt.Println("charging", e.Payload.Cents, "cents for order", e.Payload.ID)
		stop() // a service would go on until it is told to stop
		return nil
	})
	if err := OrderPlaced.Publish(ctx, b, Order{ID: "42", Cents: 995}); err != nil {
		log.Fatal(err)
	}
	if err := b.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
