package bus_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// A plain error delivers the event again, after the back-off of the subscription.
func ExampleRedeliver() {
	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New(), quiet)
	payments.Subscribe(b, "books", func(ctx context.Context, e *bus.Event[Payment]) error {
		fmt.Println("attempt", e.Attempt)
		if e.Attempt < 3 {
			return errors.New("the ledger is locked")
		}
		stop()
		return nil
	}, bus.Redeliver(bus.Backoff{Min: time.Millisecond, Max: time.Minute}))
	_ = payments.Publish(ctx, b, Payment{ID: "p-1"})
	_ = b.Run(ctx)
	// Output:
	// attempt 1
	// attempt 2
	// attempt 3
}

// Snooze is for an event that cannot be handled yet, which is nobody's failure.
func ExampleSnooze() {
	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New(), quiet)
	cleared := false
	payments.Subscribe(b, "books", func(ctx context.Context, e *bus.Event[Payment]) error {
		if !cleared {
			cleared = true
			return bus.Snooze(time.Millisecond, errors.New("not cleared yet"))
		}
		fmt.Println("booked at attempt", e.Attempt)
		stop()
		return nil
	})
	_ = payments.Publish(ctx, b, Payment{ID: "p-1"})
	_ = b.Run(ctx)
	// Output: booked at attempt 1
}

// Pause is for a dependency that is down: no other event of the subscription is tried meanwhile, and none loses an attempt.
func ExamplePause() {
	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New(), quiet)
	calls := 0
	payments.Subscribe(b, "books", func(ctx context.Context, e *bus.Event[Payment]) error {
		if calls++; calls == 1 {
			return bus.Pause(time.Millisecond, errors.New("the database is down"))
		}
		fmt.Println(e.Payload.ID, "attempt", e.Attempt)
		if calls == 3 {
			stop()
		}
		return nil
	}, bus.Concurrency(1))
	_ = payments.PublishAll(ctx, b, []Payment{{ID: "p-1"}, {ID: "p-2"}})
	_ = b.Run(ctx)
	// Unordered output:
	// p-1 attempt 1
	// p-2 attempt 1
}

// Permanent is for an event that will never succeed. Without a dead-letter route it is kept, and the log says so.
func ExamplePermanent() {
	err := bus.Permanent(errors.New("no such account"))
	fmt.Println(err)
	fmt.Println(bus.Permanent(nil))
	// Output:
	// no such account
	// <nil>
}

func ExampleDeadLetter() {
	ctx, stop := context.WithCancel(context.Background())
	tr := memory.New()
	b := bus.New(tr, quiet)
	payments.Subscribe(b, "books", func(ctx context.Context, e *bus.Event[Payment]) error {
		stop()
		return bus.DeadLetter("refused", errors.New("the account is closed"))
	})
	_ = payments.Publish(ctx, b, Payment{ID: "p-1", Cents: 995})
	_ = b.Run(ctx)

	letters, _ := tr.Letters(context.Background(), transport.Topic{Name: payments.Name()}, "books", "", 10)
	for _, l := range letters {
		p, _ := payments.Decode(l.Message)
		fmt.Println(l.Reason, p.Cents, l.Error)
	}
	// Output: refused 995 the account is closed
}
