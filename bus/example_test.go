package bus_test

import (
	"context"
	"fmt"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport/memory"
)

// Payment is what the examples are about.
type Payment struct {
	ID    string
	Cents int
}

// Topics are package variables, shared by all who publish or subscribe.
var (
	payments = bus.NewTopic("payments.made", codec.JSON[Payment]()).KeyedBy(func(p Payment) string { return p.ID })
	receipts = bus.NewTopic("receipts.printed", codec.JSON[string]())
)

func Example() {
	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New())

	payments.Subscribe(b, "books", func(ctx context.Context, e *bus.Event[Payment]) error {
		fmt.Println(e.Group, "got", e.Payload.Cents, "cents, attempt", e.Attempt)
		stop()
		return nil
	})
	if err := payments.Publish(ctx, b, Payment{ID: "p-1", Cents: 995}); err != nil {
		fmt.Println(err)
	}
	if err := b.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: books got 995 cents, attempt 1
}
