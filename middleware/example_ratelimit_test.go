package middleware_test

import (
	"context"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/memory"
)

// The handler calls a service that takes no more than 20 requests a second.
func ExampleRateLimit() {
	letters := bus.NewTopic("letters", codec.JSON[string]())
	limit := middleware.RateLimit(middleware.PerSecond(20, 1), middleware.RateLimitOptions{})

	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New())
	begun, sent := time.Now(), 0
	letters.Subscribe(b, "post", func(ctx context.Context, e *bus.Event[string]) error {
		if sent++; sent == 5 {
			fmt.Println(sent, "letters took 200ms or more:", time.Since(begun) >= 200*time.Millisecond)
			stop()
		}
		return nil
	}, bus.Use(limit), bus.Concurrency(1))
	_ = letters.PublishAll(ctx, b, []string{"a", "b", "c", "d", "e"})
	_ = b.Run(ctx)
	// Output: 5 letters took 200ms or more: true
}
