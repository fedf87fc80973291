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

// While the pager is down nothing is received, and no event loses an attempt.
func ExampleBreaker() {
	alarms := bus.NewTopic("alarms", codec.JSON[string]())
	pager := middleware.NewBreaker(middleware.BreakerOptions{
		Name:     "pager",
		Failures: 2,
		Open:     100 * time.Millisecond,
		OnChange: func(name, from, to string) { fmt.Println(name, "was", from, "and is", to) },
	})

	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New(), bus.Logger(nil), bus.Use(pager.Handle))
	calls := 0
	alarms.Subscribe(b, "pager", func(ctx context.Context, e *bus.Event[string]) error {
		if calls++; calls <= 3 {
			return errors.New("503 Service Unavailable")
		}
		fmt.Println("paged:", e.Payload)
		if calls == 6 {
			stop()
		}
		return nil
	}, bus.Concurrency(1))
	for range 3 {
		_ = alarms.Publish(ctx, b, "the river rises")
	}
	_ = b.Run(ctx)
	// Output:
	// pager was closed and is open
	// pager was open and is half-open
	// pager was half-open and is open
	// pager was open and is half-open
	// paged: the river rises
	// pager was half-open and is closed
	// paged: the river rises
	// paged: the river rises
}
