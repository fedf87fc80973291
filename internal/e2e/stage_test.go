package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// subscribeStaging turns each order into an invoice, through the event.
func subscribeStaging(_ context.Context, b *bus.Bus, _ *redisstream.Transport) {
	orders.Subscribe(b, "billing", invoice, bus.Lease(200*time.Millisecond), bus.Concurrency(8))
}

// subscribeStagingOnce does so in the standard chain, with claims in the same Redis.
func subscribeStagingOnce(_ context.Context, b *bus.Bus, tr *redisstream.Transport) {
	chain := middleware.Standard(middleware.StandardOptions{
		Claims: tr, Idempotent: middleware.IdempotentOptions{Expiry: 200 * time.Millisecond},
		Route: dlq.RouteOptions{MaxCrashes: -1}, // the kills are many, and none is an event's fault
	})
	orders.Subscribe(b, "billing", invoice, chain, bus.Lease(200*time.Millisecond), bus.Concurrency(8))
}

func invoice(ctx context.Context, e *bus.Event[Order]) error {
	fmt.Println("begin", e.Payload.N)
	return invoices.Publish(ctx, e, e.Payload)
}

// TestAKilledProcessLeavesOutputAndAcknowledgementOrNeither kills consumers at random moments, most of them between the return
// of a handler and the end of its settlement, because the handlers take no time. Claims of what is done must not hide outputs
// that were not stored.
func TestAKilledProcessLeavesOutputAndAcknowledgementOrNeither(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"stage", "stage once"} {
		t.Run(name, func(t *testing.T) { t.Parallel(); killWhileStaging(t, name) })
	}
}

func killWhileStaging(t *testing.T, name string) {
	s, tr := setup(t)
	const kills, load = 25, 4000
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	values := make([]Order, load)
	for i := range values {
		values[i].N = i
	}
	b := bus.New(tr)
	require.NoError(t, orders.PublishAll(t.Context(), b, values))
	for range kills {
		c := start(t, name, s.URL)
		c.await(t, "begin")
		<-time.After(time.Duration(rnd.IntN(20)) * time.Millisecond)
		c.Kill()
		require.NoError(t, orders.Publish(t.Context(), b, Order{N: load}), "something to begin with for the next")
	}
	last := start(t, name, s.URL)
	nothingLeft(t, tr, "orders.placed", "billing")
	last.Terminate()

	outputs, err := s.Client().XRange(t.Context(), "invoices.issued", "-", "+").Result()
	require.NoError(t, err)
	seen := map[string]int{}
	for _, x := range outputs {
		seen[x.Values["data"].(string)]++
	}
	assert.Equal(t, load+kills, len(outputs), "one output for each input (seed %d)", seed)
	for i := range load {
		assert.Equal(t, 1, seen[fmt.Sprintf(`{"N":%d}`, i)], "outputs of %d (seed %d)", i, seed)
	}
	t.Logf("%d inputs, %d outputs, %d kills", load+kills, len(outputs), kills)
}

// TestAnOutputThatCannotBeStoredFailsItsEventOnly: its topic's key holds something else. Nothing else waits for it.
func TestAnOutputThatCannotBeStoredFailsItsEventOnly(t *testing.T) {
	t.Parallel()
	s, tr := setup(t)
	require.NoError(t, s.Client().Set(t.Context(), "invoices.issued", "x", 0).Err())
	var log logLines
	b := bus.New(tr, log.option())
	orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
		if e.Payload.N > 0 {
			return nil
		}
		return invoices.Publish(ctx, e, e.Payload)
	}, bus.Concurrency(2), bus.Prefetch(0), bus.Redeliver(bus.Backoff{Min: time.Minute, NoJitter: true}))
	bustest.Start(t, b)
	values := make([]Order, 104)
	for i := range 100 {
		values[4+i].N = 1
	}
	require.NoError(t, orders.PublishAll(t.Context(), b, values))
	eventually(t, "the others to be handled", func() error {
		st, err := b.Stats(t.Context())
		if x := st.Subscriptions[0]; err == nil && (x.Done != 100 || x.Failed != 4 || x.Lag.Waiting != 4) {
			err = fmt.Errorf("%+v", x)
		}
		return err
	})
	assert.Contains(t, log.String(), "invoices.issued", "the log says which key it is")
	assert.NoError(t, b.Ready())
}
