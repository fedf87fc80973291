package bus_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// With an event as the publisher, the output is stored in the same atomic step as the event's acknowledgement.
func ExampleTopic_Publish_throughTheEvent() {
	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New(), quiet)
	payments.Subscribe(b, "books", func(ctx context.Context, e *bus.Event[Payment]) error {
		if err := receipts.Publish(ctx, e, fmt.Sprint("receipt of attempt ", e.Attempt)); err != nil {
			return err
		}
		if e.Attempt == 1 {
			return errors.New("what this attempt published is not stored")
		}
		return nil
	}, bus.Redeliver(bus.Backoff{Min: time.Millisecond}))
	receipts.Subscribe(b, "printer", func(ctx context.Context, e *bus.Event[string]) error {
		fmt.Println(e.Payload)
		stop()
		return nil
	})
	_ = payments.Publish(ctx, b, Payment{ID: "p-1"})
	_ = b.Run(ctx)
	// Output: receipt of attempt 2
}

func ExampleTopic_Publish_options() {
	var r bustest.Recorder // a Publisher that keeps what it is given
	ctx := context.Background()
	_ = payments.Publish(ctx, &r, Payment{ID: "p-1"},
		bus.ID("payment-p-1"),        // instead of a new UUIDv7
		bus.Header("tenant", "acme"), // beside the payload
		bus.Delay(time.Hour),         // stored now, delivered in an hour
	)
	m := r.Sent()[0]
	fmt.Println(m.ID, m.Key, m.Headers.Get("tenant"), time.Until(m.NotBefore).Round(time.Minute))
	// Output: payment-p-1 p-1 acme 1h0m0s
}

// PublishAll tells which events are stored when not all are.
func ExampleTopic_PublishAll() {
	tr := memory.New()
	b := bus.New(tr)
	fmt.Println(payments.PublishAll(context.Background(), b, []Payment{{ID: "p-1"}, {ID: "p-2"}}))
	_ = tr.Close()

	err := payments.PublishAll(context.Background(), b, []Payment{{ID: "p-3"}, {ID: "p-4"}})
	var each *transport.PublishError
	if errors.As(err, &each) {
		fmt.Println(each.Outcomes)
	}
	fmt.Println(errors.Is(err, bus.ErrClosed))
	// Output:
	// <nil>
	// [not stored not stored]
	// true
}

func ExampleMaxBytes() {
	small := bus.NewTopic("notes", codec.JSON[string](), bus.MaxBytes(10))
	err := small.Publish(context.Background(), bus.New(memory.New()), "more than ten bytes")
	fmt.Println(errors.Is(err, bus.ErrTooLarge))
	// Output: true
}

// A topic may be declared with another retention than the default. A soft bound never removes what a group has not handled.
func ExampleRetain() {
	audit := bus.NewTopic("audit", codec.JSON[string](), bus.Retain(bus.Retention{MaxAge: 90 * 24 * time.Hour}))
	fmt.Println(audit.Name())
	// Output: audit
}

// Declarations return no error: first use does.
func ExampleNewTopic_mistake() {
	bad := bus.NewTopic("payments made", codec.JSON[Payment]())
	fmt.Println(bad.Publish(context.Background(), bus.New(memory.New()), Payment{}))
	// Output: bus: publish payments made: bad topic name "payments made": use a letter or digit, then up to 127 letters, digits, '.', '_' or '-'
}
