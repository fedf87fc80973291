package middleware_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// full is the standard chain with all its parts but telemetry.
func full() bus.Chain {
	return middleware.Standard(middleware.StandardOptions{
		Log:     slog.New(slog.DiscardHandler),
		Claims:  middleware.NewMemoryClaims(),
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

func handleOnMemory(b *testing.B, chain bus.Chain) {
	tr := memory.New()
	defer tr.Close()
	eb := bus.New(tr, bus.Logger(nil), chain)
	done := make(chan struct{})
	n := 0
	jobs.Subscribe(eb, "workers", func(context.Context, *bus.Event[string]) error {
		if n++; n == b.N {
			close(done)
		}
		return nil
	}, bus.Concurrency(1))
	payloads := make([]string, b.N)
	for i := range payloads {
		payloads[i] = fmt.Sprint(i)
	}
	require.NoError(b, jobs.PublishAll(b.Context(), eb, payloads))
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	go func() { ended <- eb.Run(ctx) }()
	<-done
	b.StopTimer()
	stop()
	require.NoError(b, <-ended)
}
