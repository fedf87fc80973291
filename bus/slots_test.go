package bus_test

import (
	"context"
	"runtime"
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

func TestWhatIsQueuedGoesOnAtOnceWhenAHandlerEndsItsGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		var got seen
		orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			if e.Payload.ID == "0" {
				runtime.Goexit()
			}
			return got.handle(ctx, e)
		}, bus.Concurrency(1), bus.Prefetch(9))
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(4)))
		bustest.Start(t, b)
		synctest.Wait() // no time passes
		assert.Equal(t, []string{"1", "2", "3"}, got.ids())
	})
}

func TestAHungHandlerThatReturnsGivesItsSlotBack(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		stuck := make(chan struct{})
		var got seen
		sub := orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			<-stuck
			return got.handle(ctx, e)
		}, bus.Concurrency(1), bus.MaxProcessing(time.Second), bus.Lease(time.Second))
		stop := bustest.Start(t, b)
		publish(t, b, "1", "2")
		<-time.After(time.Minute)
		require.ErrorContains(t, b.Ready(), "ignore their context")
		close(stuck)
		bustest.Settle(t, b)
		assert.NoError(t, b.Ready())
		assert.ElementsMatch(t, []string{"1", "1", "2"}, got.ids(), "the first once more, because its event was given back")
		stop()
		assert.Empty(t, bus.Leftovers(sub))
	})
}

// lossy says of some deliveries that they are lost before it returns them.
type lossy struct {
	*memory.Transport
	lose func(*transport.Delivery) bool
}

func (l *lossy) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	s, err := l.Transport.Subscribe(ctx, t, g)
	return &lossySubscription{s, l.lose, g.Lost}, err
}

type lossySubscription struct {
	transport.Subscription
	lose func(*transport.Delivery) bool
	lost func(*transport.Delivery)
}

func (s *lossySubscription) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	ds, err := s.Subscription.Receive(ctx, limit)
	for _, d := range ds {
		if s.lose(d) {
			s.lost(d)
		}
	}
	return ds, err
}

func TestAProbeThatIsLostMakesRoomForAnother(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		received := 0
		b := bus.New(&lossy{tr, func(*transport.Delivery) bool { received++; return received == 2 }}, quiet)
		var got seen
		paused := false
		orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			if !paused {
				paused = true
				return bus.Pause(time.Second, errCard)
			}
			return got.handle(ctx, e)
		}, bus.Concurrency(1), bus.Prefetch(0))
		bustest.Start(t, b)
		publish(t, b, "1", "2", "3")
		<-time.After(time.Minute)
		synctest.Wait()
		assert.Len(t, got.ids(), 2, "all but the one that another consumer has")
	})
}
