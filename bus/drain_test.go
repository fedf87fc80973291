package bus_test

import (
	"context"
	"errors"
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

func TestDrainWaitsForHandlersAndGivesBackTheRest(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		first := bus.New(tr)
		var begun, done atomic.Int64
		orders.Subscribe(first, "billing", func(ctx context.Context, _ *bus.Event[Order]) error {
			begun.Add(1)
			<-time.After(10 * time.Second)
			done.Add(1)
			return ctx.Err()
		}, bus.Concurrency(4), bus.Prefetch(50))
		stop := bustest.Start(t, first)
		require.NoError(t, orders.PublishAll(t.Context(), first, numbered(100)))
		synctest.Wait()
		begin := time.Now()
		stop()
		assert.Equal(t, 10*time.Second, time.Since(begin))
		assert.EqualValues(t, 4, done.Load(), "what was begun ends well")
		assert.EqualValues(t, 4, begun.Load(), "nothing new begins")

		second := bus.New(tr)
		var got seen
		orders.Subscribe(second, "billing", got.handle)
		begin = time.Now()
		bustest.Start(t, second)
		bustest.Settle(t, second)
		assert.Less(t, time.Since(begin), time.Second)
		require.Len(t, got.all(), 96)
		for _, e := range got.all() {
			assert.Equal(t, 1, e.Attempt)
			assert.Zero(t, e.Redelivered)
		}
	})
}

func TestDrainCutsHandlersAfterTheGrace(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, bus.Grace(5*time.Second), quiet)
		var cause error
		orders.Subscribe(b, "billing", func(ctx context.Context, _ *bus.Event[Order]) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		})
		publish(t, b, "1")
		stop := bustest.Start(t, b)
		synctest.Wait()
		begin := time.Now()
		stop()
		assert.Equal(t, 5*time.Second, time.Since(begin))
		assert.ErrorIs(t, cause, bus.ErrDraining)

		var got seen
		next := bus.New(tr)
		orders.Subscribe(next, "billing", got.handle)
		bustest.Start(t, next)
		bustest.Settle(t, next)
		require.Len(t, got.all(), 1)
		assert.Equal(t, 1, got.all()[0].Attempt, "an event cut short by the drain has not failed")
	})
}

func TestDrainNamesHandlersThatDoNotReturn(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, bus.Grace(time.Second), quiet)
		stuck := make(chan struct{})
		orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error { <-stuck; return nil })
		require.NoError(t, orders.Publish(t.Context(), b, Order{}, bus.ID("order-1")))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		synctest.Wait()
		cancel()
		err := <-ended
		assert.ErrorContains(t, err, "1 handlers did not return within the grace of 1s")
		assert.ErrorContains(t, err, "order-1")
		close(stuck)
	})
}

func TestStopEndsEarlyWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		sub := orders.Subscribe(b, "billing", func(ctx context.Context, _ *bus.Event[Order]) error {
			<-ctx.Done()
			return ctx.Err()
		})
		publish(t, b, "1")
		bustest.Start(t, b)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		require.NoError(t, sub.Stop(ctx))
		assert.Equal(t, time.Second, time.Since(begin))
	})
}

func TestHandlersContextHasRunsValuesAndNotItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		type key struct{}
		b := bus.New(tr)
		var value any
		var err error
		began := make(chan struct{})
		orders.Subscribe(b, "billing", func(ctx context.Context, _ *bus.Event[Order]) error {
			close(began)
			<-time.After(time.Second)
			value, err = ctx.Value(key{}), ctx.Err()
			return err
		})
		publish(t, b, "1")
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		<-began
		cancel()
		require.NoError(t, <-ended)
		assert.Equal(t, "v", value)
		assert.NoError(t, err)
	})
}

func TestRunThatIsToldToEndAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr)
		orders.Subscribe(b, "billing", new(seen).handle)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := b.Run(ctx)
		assert.True(t, err == nil || errors.Is(err, context.Canceled), err)
	})
}
