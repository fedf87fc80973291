package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestBatches(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr)
		var sizes []int
		h := func(_ context.Context, es []*bus.Event[Order]) error {
			sizes = append(sizes, len(es))
			return nil
		}
		orders.Subscribe(b, "archive", bus.Batched(100, time.Minute, h), bus.Concurrency(1))
		require.NoError(t, orders.PublishAll(t.Context(), b, make([]Order, 250)))
		begin := time.Now()
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.Equal(t, []int{100, 100, 50}, sizes, "batches larger than the concurrency, and the rest after the wait")
		assert.GreaterOrEqual(t, time.Since(begin), time.Minute)
	})
}

func TestConcurrencyBoundsBatches(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr)
		var now, most int
		h := func(context.Context, []*bus.Event[Order]) error {
			now++
			most = max(most, now)
			<-time.After(time.Second)
			now--
			return nil
		}
		orders.Subscribe(b, "archive", bus.Batched(10, time.Second, h), bus.Concurrency(1), bus.Prefetch(100))
		require.NoError(t, orders.PublishAll(t.Context(), b, make([]Order, 100)))
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.Equal(t, 1, most)
	})
}

func TestBatchOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		err  func(n int) error
		want bus.Counts
	}{
		"all fail":   {func(int) error { return errCard }, bus.Counts{Failed: 4, Done: 4}},
		"some fail":  {func(n int) error { es := make(bus.BatchErrors, n); es[0] = errCard; return es }, bus.Counts{Failed: 1, Done: 4}},
		"none fails": {func(n int) error { return make(bus.BatchErrors, n) }, bus.Counts{Done: 4}},
		"verdicts":   {func(n int) error { es := make(bus.BatchErrors, n); es[1] = bus.DeadLetter("x", nil); return es }, bus.Counts{Dead: 1, Done: 3}},
		"miscounted": {func(int) error { return bus.BatchErrors{errCard} }, bus.Counts{Failed: 4, Done: 4}},
		"panic":      {func(int) error { panic("boom") }, bus.Counts{Failed: 4, Done: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, tr *memory.Transport) {
				b := bus.New(tr, quiet)
				first := true
				orders.Subscribe(b, "archive", bus.Batched(4, time.Second, func(_ context.Context, es []*bus.Event[Order]) error {
					if !first {
						return nil
					}
					first = false
					return c.err(len(es))
				}))
				require.NoError(t, orders.PublishAll(t.Context(), b, make([]Order, 4)))
				bustest.Start(t, b)
				bustest.Settle(t, b)
				st, _ := b.Stats(t.Context())
				assert.Equal(t, c.want, st.Subscriptions[0].Counts)
			})
		})
	}
}

func TestADrainDoesNotWaitForABatchToFill(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr)
		n := 0
		orders.Subscribe(b, "archive", bus.Batched(100, time.Hour, func(_ context.Context, es []*bus.Event[Order]) error {
			n = len(es)
			return nil
		}))
		publish(t, b, "1", "2", "3")
		stop := bustest.Start(t, b)
		synctest.Wait()
		begin := time.Now()
		stop()
		assert.Zero(t, time.Since(begin))
		assert.Equal(t, 3, n)
	})
}

func TestALostLeaseOfOneEventDoesNotFailTheBatch(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		lease := losing{Transport: tr}
		b := bus.New(&lease, quiet)
		calls := 0
		orders.Subscribe(b, "archive", bus.Batched(3, time.Second, func(ctx context.Context, es []*bus.Event[Order]) error {
			if calls++; calls > 1 {
				for _, e := range es {
					assert.Equal(t, 1, e.Attempt)
				}
				return nil
			}
			lease.lose(es[1].Delivery.Delivery)
			<-ctx.Done()
			assert.ErrorIs(t, context.Cause(ctx), bus.ErrLeaseLost)
			return ctx.Err()
		}))
		require.NoError(t, orders.PublishAll(t.Context(), b, make([]Order, 3)))
		bustest.Start(t, b)
		<-time.After(time.Minute)
		st, _ := b.Stats(t.Context())
		assert.Equal(t, bus.Counts{Deferred: 2, Done: 2, LeasesLost: 1}, st.Subscriptions[0].Counts)
	})
}

func TestBatchErrors(t *testing.T) {
	other := errors.New("other")
	err := bus.BatchErrors{nil, errCard, fmt.Errorf("x: %w", other)}
	assert.EqualError(t, err, "2 of 3 events of the batch failed: card declined")
	assert.ErrorIs(t, err, other)
	assert.EqualError(t, bus.BatchErrors{nil}, "no event of the batch failed")
}

func TestABatchedHandlerNeedsNoBus(t *testing.T) {
	n := 0
	h := bus.Batched(1, time.Second, func(_ context.Context, es []*bus.Event[Order]) error { n = len(es); return errCard })
	assert.ErrorIs(t, h(t.Context(), bustest.NewEvent(t, nil, orders, Order{ID: "1"})), errCard)
	assert.Equal(t, 1, n)
}

// TestBatchedLeavesTimeToHandle: with a deadline that is nearer than the end of the waiting, events would fail unhandled.
func TestBatchedLeavesTimeToHandle(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		limit := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
				defer cancel()
				return next(ctx, d)
			}
		}
		began, left := time.Now(), time.Duration(0)
		orders.Subscribe(b, "archive", bus.Batched(10, time.Minute, func(ctx context.Context, _ []*bus.Event[Order]) error {
			left = 30*time.Second - time.Since(began)
			return ctx.Err()
		}), bus.Use(limit))
		bustest.Start(t, b)
		publish(t, b, "1")
		<-time.After(time.Hour)
		st, _ := b.Stats(t.Context())
		assert.Equal(t, bus.Counts{Done: 1}, st.Subscriptions[0].Counts)
		assert.Equal(t, 15*time.Second, left.Round(time.Second))
	})
}
