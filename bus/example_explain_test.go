package bus_test

import (
	"context"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// Explain tells what was declared. A middleware says more than its name if it was described.
func ExampleBus_Explain() {
	polite := bus.Describe(bus.Layer{Name: "polite", Knobs: "waits 10ms"}, func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error { return next(ctx, d) }
	})
	b := bus.New(memory.New(), bus.Use(polite))
	payments.Subscribe(b, "books", func(context.Context, *bus.Event[Payment]) error { return nil },
		bus.Use(audit), bus.Concurrency(4), bus.Redeliver(bus.Backoff{Min: time.Minute}),
		bus.RetainLetters(transport.LetterBound{MaxLen: 1000, MaxAge: 24 * time.Hour}))
	fmt.Print(b.Explain())
	// Output:
	// payments.made/books
	//   topic         payments.made, what all groups have handled is kept: the newest 1000000 events
	//   group         books, begins at the earliest event, lease 30s
	//   codec         application/json
	//   chain         polite: waits 10ms
	//                 bus_test.audit
	//                 decoding > handler
	//   handlers      4 at once, prefetching about a second of work, no limit of time
	//   back-off      1m0s doubling up to 5m0s, full jitter
	//   dead letters  no route: a permanent failure is kept, and tried again every 5m0s; kept: the newest 1000 letters of the last 24h0m0s
}

func audit(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error { return next(ctx, d) }
}
