package bus_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestPublishingThroughAnEventThatIsHandledIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		var kept *bus.Event[Order]
		orders.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error { kept = e; return nil })
		bustest.Start(t, b)
		publish(t, b, "1")
		synctest.Wait()
		assert.ErrorContains(t, invoices.Publish(t.Context(), kept, Order{}), "the event was handled already")
	})
}

// Whatever a handler that returns meanwhile does, what was taken is stored.
func TestPublishingWhileTheHandlerReturns(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	b := bus.New(tr, quiet)
	var handled, taken atomic.Int64
	var stored seen
	var publishers sync.WaitGroup
	invoices.Subscribe(b, "archive", stored.handle)
	orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
		began := make(chan struct{})
		publishers.Go(func() {
			close(began)
			for range 20 {
				if invoices.Publish(context.WithoutCancel(ctx), e, e.Payload) == nil {
					taken.Add(1)
				}
			}
		})
		<-began
		wait := time.Duration(handled.Add(1)%16) * time.Microsecond
		for begin := time.Now(); time.Since(begin) < wait; {
		}
		return nil
	})
	stop := bustest.Start(t, b)
	require.NoError(t, orders.PublishAll(t.Context(), b, numbered(500)))
	bustest.Settle(t, b)
	publishers.Wait()
	stop()
	assert.Len(t, stored.ids(), int(taken.Load()))
	t.Log(taken.Load(), "were in time")
}
