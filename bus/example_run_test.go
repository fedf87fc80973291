package bus_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport/memory"
)

// A new group begins with the oldest event; Start says otherwise.
func ExampleStart() {
	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New())
	_ = payments.Publish(ctx, b, Payment{ID: "before"})
	payments.Subscribe(b, "everything", func(ctx context.Context, e *bus.Event[Payment]) error {
		fmt.Println(e.Group, e.Payload.ID)
		stop()
		return nil
	}, bus.Start(bus.Earliest)) // or bus.Latest, bus.At(time.Now().Add(-time.Hour)), bus.From("1526919030474-55")
	_ = b.Run(ctx)
	// Output: everything before
}

// A subscription can be paused, resumed and stopped while the bus runs.
func ExampleSubscriber() {
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New())
	wg.Go(func() {
		if err := b.Run(ctx); err != nil {
			fmt.Println(err)
		}
	})
	done := make(chan struct{})
	sub := payments.Subscribe(b, "books", func(ctx context.Context, e *bus.Event[Payment]) error {
		fmt.Println("booked", e.Payload.ID)
		close(done)
		return nil
	})
	sub.Pause()
	_ = payments.Publish(ctx, b, Payment{ID: "p-1"})
	fmt.Println("paused")
	sub.Resume()
	<-done
	fmt.Println("stopped:", sub.Stop(ctx))
	stop()
	wg.Wait()
	// Output:
	// paused
	// booked p-1
	// stopped: <nil>
}

// Stats tell how far each group is behind, and how deliveries ended in this process.
func ExampleBus_Stats() {
	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New())
	payments.Subscribe(b, "books", func(ctx context.Context, e *bus.Event[Payment]) error {
		stop()
		return nil
	})
	_ = payments.Publish(ctx, b, Payment{ID: "p-1"})
	_ = b.Run(ctx)

	st, err := b.Stats(context.Background())
	s := st.Subscriptions[0]
	fmt.Println(s.Topic, s.Group, "undelivered", s.Lag.Undelivered, "pending", s.Lag.Pending, "done", s.Done, err)
	// Output: payments.made books undelivered 0 pending 0 done 1 <nil>
}

// Ready is for a health endpoint.
func ExampleBus_Ready() {
	b := bus.New(memory.New())
	fmt.Println(b.Ready())
	// Output: bus: not running
}

func ExampleBackoff() {
	b := bus.Backoff{Min: time.Second, Max: 10 * time.Second, NoJitter: true}
	for attempt := 1; attempt <= 5; attempt++ {
		fmt.Print(b.After(attempt), " ")
	}
	// Output: 1s 2s 4s 8s 10s
}
