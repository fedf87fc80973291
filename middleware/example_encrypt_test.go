package middleware_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// Publisher and handler see the text, the broker does not.
func ExampleEncryption() {
	secret := make([]byte, 32) // in production from a secret store, and the same in every process
	_, _ = rand.Read(secret)
	e, err := middleware.NewEncryption(middleware.EncryptionOptions{
		Keys: []middleware.EncryptionKey{{ID: "2026-10", Secret: secret}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	diagnoses := bus.NewTopic("diagnoses", codec.JSON[string]())
	peek := func(next bus.Sender) bus.Sender { // inside e.Send, so that it sees what is stored
		return func(ctx context.Context, t transport.Topic, ms []*bus.Message) error {
			fmt.Println("stored:", ms[0].Headers.Get("encryption"), "readable:", strings.Contains(string(ms[0].Body), "flu"))
			return next(ctx, t, ms)
		}
	}

	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(memory.New(), bus.Use(e.Handle), bus.UseSend(e.Send, peek))
	diagnoses.Subscribe(b, "records", func(ctx context.Context, d *bus.Event[string]) error {
		fmt.Println("handled:", d.Payload)
		stop()
		return nil
	})
	_ = diagnoses.Publish(ctx, b, "the flu")
	_ = b.Run(ctx)
	// Output:
	// stored: aes-gcm; key=2026-10 readable: false
	// handled: the flu
}
