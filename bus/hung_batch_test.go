package bus_test

import (
	"context"
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

// TestAHungBatchTakesOneSlot: of four, and the other three go on.
func TestAHungBatchTakesOneSlot(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet, bus.Grace(time.Second))
		stuck := make(chan struct{})
		var got seen
		var begun atomic.Bool
		orders.Subscribe(b, "billing", bus.Batched(10, time.Second, func(ctx context.Context, es []*bus.Event[Order]) error {
			if !begun.Swap(true) {
				<-stuck // ignores its context
				return nil
			}
			for _, e := range es {
				_ = got.handle(ctx, e)
			}
			return nil
		}), bus.Concurrency(4), bus.MaxProcessing(time.Second), bus.Lease(time.Second))
		bustest.Start(t, b)
		t.Cleanup(func() { close(stuck) })
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(10)))
		<-time.After(10 * time.Second) // the batch hangs; its events were given back
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(20)))
		<-time.After(time.Hour)
		synctest.Wait()
		assert.NotEmpty(t, got.ids(), "three of four slots are free")
		assert.NoError(t, b.Ready())
	})
}
