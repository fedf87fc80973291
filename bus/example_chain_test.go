package bus_test

import (
	"context"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// Middleware registered with Use sees headers and bytes, before they are decoded.
func ExampleUse() {
	ctx, stop := context.WithCancel(context.Background())
	onlyAcme := func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			if tenant := d.Headers.Get("tenant"); tenant != "acme" {
				fmt.Println("passed over an event of", tenant)
				return nil
			}
			return next(ctx, d)
		}
	}
	b := bus.New(memory.New(), bus.Use(onlyAcme)) // for all subscriptions of the bus
	payments.Subscribe(b, "books", func(ctx context.Context, e *bus.Event[Payment]) error {
		fmt.Println("booked", e.Payload.ID)
		stop()
		return nil
	}, bus.Concurrency(1))
	_ = payments.Publish(ctx, b, Payment{ID: "p-1"}, bus.Header("tenant", "other"))
	_ = payments.Publish(ctx, b, Payment{ID: "p-2"}, bus.Header("tenant", "acme"))
	_ = b.Run(ctx)
	// Output:
	// passed over an event of other
	// booked p-2
}

// Wrap applies typed middleware: it sees the decoded payload.
func ExampleWrap() {
	positive := func(next bus.HandlerOf[Payment]) bus.HandlerOf[Payment] {
		return func(ctx context.Context, e *bus.Event[Payment]) error {
			if e.Payload.Cents <= 0 {
				return bus.DeadLetter("invalid", fmt.Errorf("%d cents", e.Payload.Cents))
			}
			return next(ctx, e)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	book := func(ctx context.Context, e *bus.Event[Payment]) error {
		fmt.Println("booked", e.Payload.Cents, "cents")
		stop()
		return nil
	}
	b := bus.New(memory.New(), quiet)
	payments.Subscribe(b, "books", bus.Wrap(book, positive), bus.Concurrency(1))
	_ = payments.PublishAll(ctx, b, []Payment{{Cents: -1}, {Cents: 995}})
	_ = b.Run(ctx)
	// Output: booked 995 cents
}

// Send middleware sees everything that is published, also through events.
func ExampleUseSend() {
	stamp := func(next bus.Sender) bus.Sender {
		return func(ctx context.Context, t transport.Topic, ms []*bus.Message) error {
			for _, m := range ms {
				m.Headers.Set("service", "checkout")
			}
			return next(ctx, t, ms)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New(), bus.UseSend(stamp))
	payments.Subscribe(b, "books", func(ctx context.Context, e *bus.Event[Payment]) error {
		fmt.Println("from", e.Headers.Get("service"))
		stop()
		return nil
	})
	_ = payments.Publish(ctx, b, Payment{ID: "p-1"})
	_ = b.Run(ctx)
	// Output: from checkout
}

// A batched handler gets many events at once. Waiting for others takes no slot.
func ExampleBatched() {
	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New())
	payments.Subscribe(b, "archive", bus.Batched(3, time.Second, func(ctx context.Context, es []*bus.Event[Payment]) error {
		sum := 0
		for _, e := range es {
			sum += e.Payload.Cents
		}
		fmt.Println(len(es), "payments of", sum, "cents")
		stop()
		return nil
	}))
	_ = payments.PublishAll(ctx, b, []Payment{{Cents: 1}, {Cents: 2}, {Cents: 3}})
	_ = b.Run(ctx)
	// Output: 3 payments of 6 cents
}

// BatchErrors tells the events of a batch apart.
func ExampleBatchErrors() {
	ctx, stop := context.WithCancel(context.Background())
	store := func(ctx context.Context, es []*bus.Event[Payment]) error {
		defer stop()
		errs := make(bus.BatchErrors, len(es))
		for i, e := range es {
			if e.Payload.Cents < 0 {
				errs[i] = bus.DeadLetter("negative", nil)
			}
		}
		return errs
	}
	b := bus.New(memory.New(), quiet)
	payments.Subscribe(b, "archive", bus.Batched(3, time.Second, store))
	_ = payments.PublishAll(ctx, b, []Payment{{Cents: 1}, {Cents: -2}, {Cents: 3}})
	_ = b.Run(ctx)
	st, _ := b.Stats(context.Background())
	fmt.Println(st.Subscriptions[0].Done, "done,", st.Subscriptions[0].Dead, "dead")
	// Output: 2 done, 1 dead
}
