package bus_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
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

func TestHungHandlersDoNotHoardEvents(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		sick, well := bus.New(tr, quiet, bus.Grace(time.Second)), bus.New(tr, quiet)
		stuck := make(chan struct{})
		orders.Subscribe(sick, "billing", func(context.Context, *bus.Event[Order]) error { <-stuck; return nil },
			bus.Concurrency(1), bus.MaxProcessing(time.Second), bus.Lease(time.Second), bus.Prefetch(8))
		bustest.Start(t, sick)
		t.Cleanup(func() { close(stuck) })
		publish(t, sick, "first")
		<-time.After(time.Minute) // given back, waits for its back-off, comes again: nobody handles it
		var got seen
		orders.Subscribe(well, "billing", got.handle)
		bustest.Start(t, well)
		require.NoError(t, orders.PublishAll(t.Context(), well, numbered(100)))
		<-time.After(24 * time.Hour)
		synctest.Wait()
		st, _ := sick.Stats(t.Context())
		assert.Len(t, got.ids(), 101, "queued in the sick one: %d, pending %d", st.Subscriptions[0].Queued, st.Subscriptions[0].Lag.Pending)
	})
}

type mindful struct{ *memory.Transport }

func (f *mindful) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	s, err := f.Transport.Subscribe(ctx, t, g)
	return &mindfulSub{s}, err
}

type mindfulSub struct{ transport.Subscription }

func (s *mindfulSub) Close(ctx context.Context) error { // as redisstream does
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Subscription.Close(ctx)
}

func TestAHungHandlersEventIsGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(&mindful{tr}, quiet, bus.Grace(time.Second))
		stuck := make(chan struct{})
		orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error { <-stuck; return nil })
		publish(t, b, "1")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		synctest.Wait()
		cancel()
		err := <-ended
		close(stuck)
		t.Log(err)
		assert.NotErrorIs(t, err, context.DeadlineExceeded, "the subscription was not closed")
		next := bus.New(tr)
		var got seen
		orders.Subscribe(next, "billing", got.handle)
		bustest.Start(t, next)
		<-time.After(time.Hour)
		synctest.Wait()
		assert.Equal(t, []string{"1"}, got.ids())
	})
}

func TestASlowHandlerPinsOnlyItsOwnEvent(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	b := bus.New(tr, quiet)
	block := make(chan struct{})
	var freed atomic.Int64
	var done atomic.Int64
	orders.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
		if e.Payload.ID == "0" {
			<-block
		}
		done.Add(1)
		return nil
	}, bus.Concurrency(2), bus.Prefetch(1000), bus.Use(func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			body := new([1 << 16]byte)
			runtime.AddCleanup(body, func(struct{}) { freed.Add(1) }, struct{}{})
			d.Body = append(body[:0], d.Body...)
			return next(ctx, d)
		}
	}))
	require.NoError(t, orders.PublishAll(t.Context(), b, numbered(900)))
	stop := bustest.Start(t, b)
	assert.Eventually(t, func() bool {
		runtime.GC()
		return freed.Load() > 800
	}, 30*time.Second, time.Millisecond, "bodies of finished events are kept")
	close(block)
	stop()
}

func TestStopFromAHandler(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		var sub *bus.Subscriber[Order]
		var took time.Duration
		var err error
		sub = orders.Subscribe(b, "g", func(ctx context.Context, e *bus.Event[Order]) error {
			begin := time.Now()
			err = sub.Stop(ctx)
			took = time.Since(begin)
			return nil
		})
		bustest.Start(t, b)
		publish(t, b, "1")
		synctest.Wait()
		assert.Zero(t, took)
		assert.ErrorContains(t, err, "its own handler cannot wait for itself")
	})
}

func TestAProbeDoesNotWaitForOldHandlers(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet, bus.Grace(time.Second))
		begin := time.Now()
		var mu sync.Mutex
		var at []time.Duration
		paused := false
		orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			if e.Payload.ID == "long" {
				<-time.After(24 * time.Hour)
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if !paused {
				paused = true
				return bus.Pause(time.Second, errCard)
			}
			at = append(at, time.Since(begin))
			return nil
		})
		bustest.Start(t, b)
		publish(t, b, "long")
		synctest.Wait()
		begin = time.Now()
		publish(t, b, "1", "2", "3")
		<-time.After(25 * time.Hour)
		synctest.Wait()
		require.Len(t, at, 3)
		assert.Less(t, at[0], time.Minute)
	})
}

func TestASecondStopMindsItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		sub := orders.Subscribe(b, "g", func(ctx context.Context, e *bus.Event[Order]) error { <-time.After(15 * time.Second); return nil })
		bustest.Start(t, b)
		publish(t, b, "1")
		synctest.Wait()
		go sub.Stop(context.Background())
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		sub.Stop(ctx)
		assert.LessOrEqual(t, time.Since(begin), time.Second)
	})
}

func TestResumeEndsAHandlersPause(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		n := 0
		sub := orders.Subscribe(b, "g", func(ctx context.Context, e *bus.Event[Order]) error {
			if n++; n == 1 {
				return bus.Pause(24*time.Hour, errCard)
			}
			return nil
		})
		bustest.Start(t, b)
		publish(t, b, "1")
		synctest.Wait()
		sub.Resume()
		synctest.Wait()
		assert.Equal(t, 2, n)
	})
}

func TestConcurrencyIsBackAfterAProbe(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		var mu sync.Mutex
		calls, now, most := 0, 0, 0
		orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error {
			mu.Lock()
			if calls++; calls == 1 {
				mu.Unlock()
				return bus.Pause(time.Second, errCard)
			}
			now++
			most = max(most, now)
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			defer mu.Unlock()
			now--
			return nil
		}, bus.Concurrency(8))
		bustest.Start(t, b)
		publish(t, b, "first")
		synctest.Wait()
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(50)))
		bustest.Settle(t, b)
		assert.Equal(t, 8, most)
	})
}

func TestAHandlerThatEndsItsGoroutineFreesItsSlot(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		var got seen
		sub := orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			if e.Attempt == 1 {
				runtime.Goexit()
			}
			return got.handle(ctx, e)
		}, bus.Concurrency(1))
		stop := bustest.Start(t, b)
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(5)))
		bustest.Settle(t, b)
		assert.Len(t, got.ids(), 5)
		stop()
		assert.Empty(t, bus.Leftovers(sub))
	})
}

// late is a transport whose Receive returns deliveries although its context has ended meanwhile, as it may.
type late struct{ *memory.Transport }

type lateSubscription struct{ transport.Subscription }

func (l late) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	s, err := l.Transport.Subscribe(ctx, t, g)
	return lateSubscription{s}, err
}

func (s lateSubscription) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	ds, err := s.Subscription.Receive(ctx, limit)
	if err == nil {
		<-ctx.Done()
	}
	return ds, err
}

func TestNothingBeginsOnceTheDrainHasBegun(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(late{tr}, quiet)
		var got seen
		orders.Subscribe(b, "billing", got.handle)
		stop := bustest.Start(t, b)
		publish(t, b, "1", "2")
		synctest.Wait()
		stop()
		assert.Empty(t, got.ids())
		lag, err := tr.Lag(t.Context(), transport.Topic{Name: "orders.placed"}, "billing")
		require.NoError(t, err)
		assert.Equal(t, transport.Lag{Undelivered: 2}, lag, "they were given back")
	})
}
