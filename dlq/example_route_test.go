package dlq_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/transport/memory"
)

type Payment struct {
	ID    string
	Cents int
}

var payments = bus.NewTopic("payments.made", codec.JSON[Payment]())

// What cannot be handled goes to the dead letters: at once if the handler says so or its time is over, else after some attempts.
func ExampleRoute() {
	ctx, stop := context.WithCancel(context.Background())
	var dead atomic.Int32
	route := dlq.Route(dlq.RouteOptions{
		MaxAttempts: 3,
		OnDead: func(_ context.Context, d *bus.Delivery, reason string, err error) {
			fmt.Println("dead:", reason+":", err)
			if dead.Add(1) == 3 {
				stop()
			}
		},
	})
	b := bus.New(memory.New(), quiet, bus.Use(route))
	payments.Subscribe(b, "books", func(ctx context.Context, e *bus.Event[Payment]) error {
		fmt.Println("booking", e.Payload.ID, "attempt", e.Attempt)
		switch {
		case e.Payload.Cents == 0:
			return bus.Permanent(errors.New("nothing was paid"))
		case e.Payload.Cents < 0:
			return errors.New("timeout after 31ms")
		}
		return nil
	}, bus.Concurrency(1), bus.Redeliver(bus.Backoff{Min: 50 * time.Millisecond, NoJitter: true}))

	expired := time.Date(2020, 11, 23, 15, 0, 0, 0, time.UTC)
	_ = payments.Publish(ctx, b, Payment{ID: "p-1", Cents: 5}, dlq.Expires(expired)) // is never booked
	_ = payments.Publish(ctx, b, Payment{ID: "p-2", Cents: 5})
	_ = payments.Publish(ctx, b, Payment{ID: "p-3"})
	_ = payments.Publish(ctx, b, Payment{ID: "p-4", Cents: -5})
	_ = b.Run(ctx)
	// Unordered output:
	// dead: expired: expired at 2020-11-23T15:00:00Z
	// booking p-2 attempt 1
	// booking p-3 attempt 1
	// dead: permanent: nothing was paid
	// booking p-4 attempt 1
	// booking p-4 attempt 2
	// booking p-4 attempt 3
	// dead: exhausted: timeout after 31ms
}
