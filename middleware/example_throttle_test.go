package middleware_test

import (
	"context"
	"fmt"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/memory"
)

// One device that sends too much waits for its turns, and the others do not wait for it.
func ExampleThrottle() {
	readings := bus.NewTopic("readings", codec.JSON[int]())
	throttle := middleware.Throttle(middleware.ThrottleOptions{Rate: 4, Burst: 2})

	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New(), bus.Use(throttle))
	handled := 0
	readings.Subscribe(b, "store", func(ctx context.Context, e *bus.Event[int]) error {
		fmt.Println(e.Key, e.Payload)
		if handled++; handled == 6 {
			stop()
		}
		return nil
	}, bus.Concurrency(1))
	_ = readings.PublishAll(ctx, b, []int{1, 2, 3, 4}, bus.Key("chatty"))
	_ = readings.PublishAll(ctx, b, []int{1, 2}, bus.Key("quiet"))
	_ = b.Run(ctx)
	// Output:
	// chatty 1
	// chatty 2
	// quiet 1
	// quiet 2
	// chatty 3
	// chatty 4
}
