package middleware_test

import (
	"context"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// full is the standard chain with all its parts but telemetry.
func full() bus.Chain {
	return middleware.Standard(middleware.StandardOptions{
		Log:    slog.New(slog.DiscardHandler),
		Claims: middleware.NewMemoryClaims(), Idempotent: middleware.IdempotentOptions{Keep: 10 * time.Millisecond},
		Breaker: middleware.NewBreaker(middleware.BreakerOptions{}),
	})
}

var handled = bus.NewDelivery(&transport.Delivery{Message: &bus.Message{ID: "1"}, Topic: "jobs", Group: "workers", Attempt: 1}, nil)

// BenchmarkStandard is one delivery through the whole chain.
func BenchmarkStandard(b *testing.B) {
	h := full().Wrap(func(context.Context, *bus.Delivery) error { return nil })
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		handled.ID = strconv.Itoa(i)
		if err := h(b.Context(), handled); err != nil {
			b.Fatal(err)
		}
	}
}

// TestStandardIsLean holds what the chain allocates; what it takes in time is in docs/middleware.md.
func TestStandardIsLean(t *testing.T) {
	h := full().Wrap(func(context.Context, *bus.Delivery) error { return nil })
	i := 0
	allocs := testing.AllocsPerRun(10_000, func() {
		i++
		handled.ID = strconv.Itoa(i) // an allocation of the test's own
		if err := h(t.Context(), handled); err != nil {
			t.Fatal(err)
		}
	})
	assert.LessOrEqual(t, allocs-1, 8.0)
}

// BenchmarkStandardOnMemory handles events on the memory transport with and without the whole chain; what the chain costs is the
// difference.
func BenchmarkStandardOnMemory(b *testing.B) {
	for _, c := range []struct {
		name string
		use  bus.Chain
	}{{"bare", bus.Use()}, {"standard", full()}} {
		b.Run(c.name, func(b *testing.B) { handleOnMemory(b, c.use) })
	}
}

// handleOnMemory publishes and handles a few hundred events at a time, so that neither the topic nor the claims grow with b.N.
func handleOnMemory(b *testing.B, chain bus.Chain) {
	const chunk = 500
	tr := memory.New()
	defer tr.Close()
	eb := bus.New(tr, bus.Logger(nil), chain)
	steady := bus.NewTopic("jobs", codec.JSON[string](), bus.Retain(transport.Retention{MaxLen: 1000}))
	done := make(chan struct{})
	n := 0
	steady.Subscribe(eb, "workers", func(context.Context, *bus.Event[string]) error {
		if n++; n%chunk == 0 {
			done <- struct{}{}
		}
		return nil
	}, bus.Concurrency(1))
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- eb.Run(ctx) }()
	payloads := make([]string, chunk)
	b.ReportAllocs()
	b.ResetTimer()
	for range max(b.N/chunk, 1) {
		if err := steady.PublishAll(ctx, eb, payloads); err != nil {
			b.Fatal(err)
		}
		<-done
	}
	b.StopTimer()
	stop()
	require.NoError(b, <-ended)
}
