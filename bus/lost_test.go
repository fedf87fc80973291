package bus_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

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
