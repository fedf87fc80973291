package bus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

type earlyLoss struct{ *memory.Transport }

func (f *earlyLoss) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	s, err := f.Transport.Subscribe(ctx, t, g)
	return &earlyLossSub{s, g.Lost}, err
}

type earlyLossSub struct {
	transport.Subscription
	lost func(*transport.Delivery)
}

func (s *earlyLossSub) Receive(ctx context.Context, n int) ([]*transport.Delivery, error) {
	ds, err := s.Subscription.Receive(ctx, n)
	for _, d := range ds { // the process was frozen here; the renewing goroutine woke first
		s.lost(d)
	}
	return ds, err
}

func TestALeaseLostBeforeItIsQueued(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(&earlyLoss{tr}, quiet)
		var got seen
		orders.Subscribe(b, "billing", got.handle)
		publish(t, b, "1")
		bustest.Start(t, b)
		synctest.Wait()
		assert.Empty(t, got.ids(), "it is not begun: another consumer has it")
	})
}

func TestALeaseLostInTheQueueIsNotBegun(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		lease := &strict{Transport: tr}
		b := bus.New(lease, quiet)
		var got seen
		block := make(chan struct{})
		var queued []*transport.Delivery
		sub := orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			<-block
			return got.handle(ctx, e)
		}, bus.Concurrency(1), bus.Prefetch(9))
		lease.received = func(s *strictSubscription, ds []*transport.Delivery) {
			queued = append(queued, ds...)
			if len(queued) > 3 {
				return
			}
			time.AfterFunc(time.Second, func() { s.loseLease(ds[1]) })
		}
		stop := bustest.Start(t, b)
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(3)))
		<-time.After(time.Minute)
		close(block)
		bustest.Settle(t, b)
		assert.Len(t, got.ids(), 3, "the event whose lease was lost comes once more, and is handled then only")
		stop()
		assert.Empty(t, bus.Leftovers(sub))
		assert.Empty(t, lease.breaches)
	})
}
