package bus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestRetryAroundABatchKeepsConcurrency(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		retry := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				if err := next(ctx, d); err == nil {
					return nil
				}
				return next(ctx, d)
			}
		}
		var mu sync.Mutex
		now, most, calls := 0, 0, 0
		h := func(context.Context, []*bus.Event[Order]) error {
			mu.Lock()
			now++
			calls++
			most = max(most, now)
			fail := calls%2 == 1
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			if fail {
				return errCard
			}
			return nil
		}
		orders.Subscribe(b, "archive", bus.Batched(4, time.Second, h), bus.Concurrency(1), bus.Prefetch(200), bus.Use(retry))
		require.NoError(t, orders.PublishAll(t.Context(), b, make([]Order, 400)))
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.Equal(t, 1, most, "batches at the same time")
	})
}

func TestMaxProcessingDoesNotCountCollecting(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		var errs []error
		orders.Subscribe(b, "archive", bus.Batched(10, 10*time.Second, func(ctx context.Context, es []*bus.Event[Order]) error {
			errs = append(errs, context.Cause(ctx))
			return ctx.Err()
		}), bus.MaxProcessing(5*time.Second))
		publish(t, b, "1")
		stop := bustest.Start(t, b)
		<-time.After(time.Minute)
		stop()
		require.NotEmpty(t, errs)
		assert.NoError(t, errs[0], "the handler begins with a context that has ended")
	})
}

func TestAnAbandonedEventIsNotBegun(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		var mu sync.Mutex
		var begun []string
		first := true
		orders.Subscribe(b, "archive", bus.Batched(2, time.Second, func(ctx context.Context, es []*bus.Event[Order]) error {
			mu.Lock()
			for _, e := range es {
				begun = append(begun, fmt.Sprintf("%s/%d %v", e.Payload.ID, e.Attempt, context.Cause(ctx)))
			}
			hold := first
			first = false
			mu.Unlock()
			if hold {
				<-time.After(time.Minute)
			}
			return nil
		}), bus.Concurrency(1), bus.MaxProcessing(5*time.Second), bus.Lease(time.Second), bus.Redeliver(bus.Backoff{NoJitter: true}))
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(3)))
		bustest.Start(t, b)
		<-time.After(10 * time.Minute)
		synctest.Wait()
		for _, s := range begun {
			assert.NotContains(t, s, "MaxProcessing")
		}
		t.Log(begun)
	})
}

func TestConcurrencyOfBatchesIsReached(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		var mu sync.Mutex
		full, most := 0, 0
		var sizes []int
		orders.Subscribe(b, "archive", bus.Batched(100, time.Second, func(ctx context.Context, es []*bus.Event[Order]) error {
			mu.Lock()
			sizes = append(sizes, len(es))
			full++
			most = max(most, full)
			mu.Unlock()
			<-time.After(10 * time.Second)
			mu.Lock()
			full--
			mu.Unlock()
			return nil
		}), bus.Concurrency(8))
		require.NoError(t, orders.PublishAll(t.Context(), b, make([]Order, 4000)))
		begin := time.Now()
		bustest.Start(t, b)
		bustest.Settle(t, b)
		t.Log(sizes, time.Since(begin))
		assert.Equal(t, 8, most)
		assert.LessOrEqual(t, len(sizes), 45)
	})
}

func TestPauseOfABatchIsSaidOnce(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		var log lines
		b := bus.New(tr, log.logger())
		n := 0
		orders.Subscribe(b, "g", bus.Batched(50, time.Second, func(context.Context, []*bus.Event[Order]) error {
			if n++; n == 1 {
				return bus.Pause(time.Minute, errCard)
			}
			return nil
		}))
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(50)))
		bustest.Start(t, b)
		bustest.Settle(t, b)
		c := 0
		for i := 0; i+10 < len(log.String()); i++ {
			if log.String()[i:min(len(log.String()), i+len("subscription paused"))] == "subscription paused" {
				c++
			}
		}
		assert.Equal(t, 1, c)
	})
}

func TestALossWhileCollecting(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		lease := losing{Transport: tr}
		b := bus.New(&lease, quiet)
		var calls []string
		orders.Subscribe(b, "archive", bus.Batched(10, 10*time.Second, func(ctx context.Context, es []*bus.Event[Order]) error {
			<-time.After(time.Second)
			calls = append(calls, fmt.Sprint(len(es), " ", context.Cause(ctx)))
			return ctx.Err()
		}), bus.Use(func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				if d.ID == "x" && len(calls) == 0 {
					time.AfterFunc(time.Second, func() { lease.lose(d.Delivery) })
				}
				return next(ctx, d)
			}
		}))
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(5)))
		require.NoError(t, orders.Publish(t.Context(), b, Order{}, bus.ID("x")))
		stop := bustest.Start(t, b)
		<-time.After(time.Minute)
		stop()
		t.Log(calls)
		assert.NotContains(t, calls[0], "lease lost", "the handler begins with an ended context")
	})
}

func TestNoBatchBeginsAfterTheGrace(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet, bus.Grace(5*time.Second))
		var mu sync.Mutex
		var begun []string
		start := time.Now()
		orders.Subscribe(b, "archive", bus.Batched(2, time.Second, func(ctx context.Context, es []*bus.Event[Order]) error {
			mu.Lock()
			begun = append(begun, fmt.Sprint(len(es), " at ", time.Since(start), " ", context.Cause(ctx)))
			mu.Unlock()
			<-ctx.Done()
			return ctx.Err()
		}), bus.Concurrency(1))
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(3)))
		stop := bustest.Start(t, b)
		<-time.After(10 * time.Second)
		stop()
		t.Log(begun)
		for _, s := range begun {
			assert.NotContains(t, s, "draining")
		}
	})
}
