package e2e

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/transport/redisstream"
)

const lease = time.Second

// subscribeHanging is a consumer that begins one event and never ends it.
func subscribeHanging(_ context.Context, b *bus.Bus, _ *redisstream.Transport) {
	orders.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
		fmt.Println("begin", e.ID)
		select {}
	}, bus.Lease(lease), bus.Concurrency(1), bus.Prefetch(0))
}

// subscribeWorking is a consumer that tells of each delivery.
func subscribeWorking(_ context.Context, b *bus.Bus, _ *redisstream.Transport) {
	orders.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
		fmt.Println("done", e.ID, e.Attempt, e.Redelivered)
		return nil
	}, bus.Lease(lease))
}

func TestTheEventOfAKilledProcessIsHandledByAnother(t *testing.T) {
	t.Parallel()
	s, tr := setup(t)
	victim := start(t, "hang", s.URL)
	require.NoError(t, orders.Publish(t.Context(), bus.New(tr), Order{}, bus.ID("order-1")))
	victim.await(t, "begin order-1")

	// The others have been there for longer than a lease, so that what they do has to do with the kill only.
	other := start(t, "work", s.URL)
	require.NoError(t, orders.Publish(t.Context(), bus.New(tr), Order{}, bus.ID("order-2")))
	other.await(t, "done order-2 1 0")
	<-time.After(2 * lease)

	victim.Kill()
	killed := time.Now()
	other.await(t, "done order-1 1 1")
	took, promised := time.Since(killed), lease+lease/4
	t.Logf("handled by another after %v; promised lease and reclaim tick: %v", took.Round(time.Millisecond), promised)
	assert.Less(t, took, 2*promised, "with as much again for a slow machine")
	nothingLeft(t, tr, "orders.placed", "billing")
}

func TestAHandlerTenTimesLongerThanItsLeaseRunsOnce(t *testing.T) {
	t.Parallel()
	s, tr := setup(t)
	const short = 300 * time.Millisecond
	var begun atomic.Int64
	for range 3 {
		b := bus.New(open(t, s), quiet)
		orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			begun.Add(1)
			select {
			case <-time.After(10 * short):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, bus.Lease(short))
		bustest.Start(t, b)
	}
	require.NoError(t, orders.PublishAll(t.Context(), bus.New(tr), make([]Order, 20)))
	nothingLeft(t, tr, "orders.placed", "billing")
	assert.EqualValues(t, 20, begun.Load())
}
