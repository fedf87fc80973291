package e2e

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
)

// TestADrainUnderLoadLosesNothing: it begins nothing new, and what was not begun another consumer has at once, with its attempt
// as it was, long before the lease is over.
func TestADrainUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	s, tr := setup(t)
	const load = 2000
	var mu sync.Mutex
	ends := map[string]int{}
	var attempts, redelivered, leaving atomic.Int64
	handler := func(ctx context.Context, e *bus.Event[Order]) error {
		leaving.Add(1)
		<-time.After(5 * time.Millisecond)
		attempts.Add(int64(e.Attempt - 1))
		redelivered.Add(int64(e.Redelivered))
		mu.Lock()
		defer mu.Unlock()
		ends[e.ID]++
		return nil
	}
	first := bus.New(tr, quiet)
	orders.Subscribe(first, "billing", handler, bus.Prefetch(500), bus.Lease(time.Minute))
	require.NoError(t, orders.PublishAll(t.Context(), first, make([]Order, load)))
	stop := bustest.Start(t, first)
	eventually(t, "load", func() error {
		if leaving.Load() < 100 {
			return context.DeadlineExceeded
		}
		return nil
	})
	stop()
	begun := leaving.Load()

	client := s.Client()
	pending, err := client.XPending(t.Context(), "orders.placed", "billing").Result()
	require.NoError(t, err)
	assert.Zero(t, pending.Count, "nothing stays leased to a process that is gone")
	assert.Equal(t, begun, leaving.Load(), "nothing begins after the drain")
	t.Logf("%d handled before the drain, %d released by it", begun, xlen(t, client, "{orders.placed}:billing:retry"))

	second := bus.New(open(t, s), quiet)
	orders.Subscribe(second, "billing", handler, bus.Concurrency(100), bus.Lease(time.Minute))
	bustest.Start(t, second)
	nothingLeft(t, tr, "orders.placed", "billing")
	mu.Lock()
	defer mu.Unlock()
	assert.Len(t, ends, load)
	for id, n := range ends {
		assert.Equal(t, 1, n, id)
	}
	assert.Zero(t, attempts.Load(), "no attempt is counted")
	assert.Zero(t, redelivered.Load())
}

// TestReleasedEventsArriveWithinASecond: another consumer is there already, and waits.
func TestReleasedEventsArriveWithinASecond(t *testing.T) {
	t.Parallel()
	s, tr := setup(t)
	first := bus.New(tr, quiet)
	block := make(chan struct{})
	began := make(chan struct{}, 1)
	orders.Subscribe(first, "billing", func(context.Context, *bus.Event[Order]) error {
		began <- struct{}{}
		<-block
		return nil
	}, bus.Concurrency(1), bus.Prefetch(50), bus.Lease(time.Minute))
	require.NoError(t, orders.PublishAll(t.Context(), first, make([]Order, 51)))
	stop := bustest.Start(t, first)
	<-began

	second := bus.New(open(t, s), quiet)
	arrived := make(chan int, 100)
	orders.Subscribe(second, "billing", func(_ context.Context, e *bus.Event[Order]) error {
		arrived <- e.Attempt
		return nil
	}, bus.Lease(time.Minute))
	bustest.Start(t, second)
	released := time.Now()
	var wg sync.WaitGroup
	wg.Go(stop)
	for range 50 {
		select {
		case attempt := <-arrived:
			assert.Equal(t, 1, attempt)
		case <-time.After(patience):
			require.Fail(t, "released events did not arrive")
		}
	}
	took := time.Since(released)
	close(block)
	wg.Wait()
	t.Logf("50 released events were handled by another consumer within %v; the lease is a minute", took.Round(time.Millisecond))
	assert.Less(t, took, 5*time.Second, "at once, not when the lease is over")
}

// TestADrainGivesBackWhatAHungHandlerHas: the handler ignores its context, and the lease is a minute.
func TestADrainGivesBackWhatAHungHandlerHas(t *testing.T) {
	t.Parallel()
	s, tr := setup(t)
	b := bus.New(tr, quiet, bus.Grace(100*time.Millisecond))
	began, stuck := make(chan struct{}), make(chan struct{})
	defer close(stuck)
	orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error {
		close(began)
		<-stuck
		return nil
	}, bus.Lease(time.Minute))
	require.NoError(t, orders.Publish(t.Context(), b, Order{}, bus.ID("order-1")))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	<-began
	cancel()
	err := <-ended
	assert.ErrorContains(t, err, "1 handlers did not return")
	assert.ErrorContains(t, err, "order-1")

	second := bus.New(open(t, s), quiet)
	attempt := make(chan int, 1)
	orders.Subscribe(second, "billing", func(_ context.Context, e *bus.Event[Order]) error {
		attempt <- e.Attempt
		return nil
	}, bus.Lease(time.Minute))
	bustest.Start(t, second)
	select {
	case n := <-attempt:
		assert.Equal(t, 1, n)
	case <-time.After(patience): // half a lease
		assert.Fail(t, "the event was not given back")
	}
}
