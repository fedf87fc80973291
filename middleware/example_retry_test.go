package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/memory"
)

// What passes within seconds is tried again at once, and costs no attempt.
func ExampleRetry() {
	ctx, stop := context.WithCancel(context.Background())
	alarms := bus.NewTopic("alarms", codec.JSON[string]())
	calls := 0
	call := func(_ context.Context, e *bus.Event[string]) error {
		if calls++; calls < 3 {
			return errors.New("the line is busy")
		}
		fmt.Println("called because of the", e.Payload, "in attempt", e.Attempt)
		stop()
		return nil
	}
	retry := middleware.Retry(middleware.RetryOptions{
		Tries: 5, Min: time.Millisecond,
		OnRetry: func(_ context.Context, _ *bus.Delivery, try int, _ time.Duration, err error) {
			fmt.Println("try", try, "failed:", err)
		},
	})
	b := bus.New(memory.New())
	alarms.Subscribe(b, "pager", call, bus.Use(retry))
	_ = alarms.Publish(ctx, b, "fire")
	_ = b.Run(ctx)
	// Output:
	// try 1 failed: the line is busy
	// try 2 failed: the line is busy
	// called because of the fire in attempt 1
}
