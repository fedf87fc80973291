package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// A producer that does not know whether its event was stored publishes it again, with the same id. A handler that fails is
// tried again all the same.
func ExampleIdempotent() {
	ctx, stop := context.WithCancel(context.Background())
	charges := bus.NewTopic("charges", codec.JSON[int]())
	charge := func(_ context.Context, e *bus.Event[int]) error {
		if e.ID == "charge-2" && e.Attempt == 1 {
			fmt.Println("the bank does not answer")
			return errors.New("no answer")
		}
		fmt.Println("charged", e.Payload, "cents in attempt", e.Attempt)
		if e.ID == "charge-2" {
			stop()
		}
		return nil
	}
	once := middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{Keep: time.Hour})
	b := bus.New(memory.New(), bus.Logger(silent))
	charges.Subscribe(b, "bank", charge, bus.Use(once), bus.Concurrency(1), bus.Redeliver(bus.Backoff{Min: time.Millisecond, Max: time.Millisecond}))
	for range 3 {
		_ = charges.Publish(ctx, b, 995, bus.ID("charge-1"))
	}
	_ = charges.Publish(ctx, b, 1250, bus.ID("charge-2"))
	_ = b.Run(ctx)
	// Output:
	// charged 995 cents in attempt 1
	// the bank does not answer
	// charged 1250 cents in attempt 2
}

// Claims are what keeps two processes from handling one event. Here another process, which has died, has begun it: it waits until
// the claim expires.
func ExampleNewMemoryClaims() {
	ctx, stop := context.WithCancel(context.Background())
	charges := bus.NewTopic("charges", codec.JSON[int]())
	claims := middleware.NewMemoryClaims()
	_, _, _ = claims.Begin(ctx, transport.Claim{Topic: "charges", Group: "bank", Key: "charge-1", Owner: "a dead process"}, 50*time.Millisecond)

	began := time.Now()
	b := bus.New(memory.New())
	charges.Subscribe(b, "bank", func(_ context.Context, e *bus.Event[int]) error {
		fmt.Println("charged when the claim had expired:", time.Since(began) > 40*time.Millisecond)
		stop()
		return nil
	}, bus.Use(middleware.Idempotent(claims, middleware.IdempotentOptions{Expiry: 50 * time.Millisecond})))
	_ = charges.Publish(ctx, b, 995, bus.ID("charge-1"))
	_ = b.Run(ctx)
	// Output: charged when the claim had expired: true
}
