package middleware_test

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/memory"
)

// One record a delivery. The bus itself logs to where only errors are kept, so that a failure is not told twice.
func ExampleLog() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: withoutTimes}))
	onlyErrors := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))

	ctx, stop := context.WithCancel(context.Background())
	letters := bus.NewTopic("letters", codec.JSON[string]())
	b := bus.New(memory.New(), bus.Logger(onlyErrors), bus.Use(middleware.Log(log)))
	letters.Subscribe(b, "post", func(_ context.Context, e *bus.Event[string]) error {
		if e.Payload == "" {
			return errors.New("nothing to deliver")
		}
		stop()
		return nil
	}, bus.Concurrency(1))
	_ = letters.Publish(ctx, b, "", bus.ID("l-1"))
	_ = letters.Publish(ctx, b, "dear all", bus.ID("l-2"))
	_ = b.Run(ctx)
	// Output:
	// level=WARN msg=delivery topic=letters group=post id=l-1 attempt=1 redelivered=0 verdict=failed error="nothing to deliver"
	// level=DEBUG msg=delivery topic=letters group=post id=l-2 attempt=1 redelivered=0 verdict=handled
}

// withoutTimes makes the output the same every time.
func withoutTimes(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey || a.Key == "duration" {
		return slog.Attr{}
	}
	return a
}
