package compress_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware/compress"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// Publisher and handler see the text, the broker a fraction of it.
func ExampleZstd() {
	reports := bus.NewTopic("reports", codec.JSON[string]())
	c := compress.Zstd(compress.Options{})
	weigh := func(next bus.Sender) bus.Sender { // inside c.Send, so that it sees what is stored
		return func(ctx context.Context, t transport.Topic, ms []*bus.Message) error {
			for _, m := range ms {
				fmt.Println("stored:", m.Headers.Get("content-encoding"), "of less than 100 bytes:", len(m.Body) < 100)
			}
			return next(ctx, t, ms)
		}
	}

	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New(), bus.Use(c.Handle), bus.UseSend(c.Send, weigh))
	reports.Subscribe(b, "desk", func(ctx context.Context, e *bus.Event[string]) error {
		fmt.Println("handled:", len(e.Payload), "bytes")
		stop()
		return nil
	})
	_ = reports.Publish(ctx, b, strings.Repeat("all is well. ", 1000))
	_ = b.Run(ctx)
	// Output:
	// stored: zstd of less than 100 bytes: true
	// handled: 13000 bytes
}
