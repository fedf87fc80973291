package bus_test

import (
	"context"
	"errors"
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

type settled struct {
	Verdict transport.Verdict
	Err     error
}

// watch is middleware that notes what became of each delivery.
type watch struct {
	mu   sync.Mutex
	seen []settled
	hook func(ctx context.Context)
}

func (w *watch) Handle(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		d.OnSettled(func(ctx context.Context, v transport.Verdict, err error) {
			if w.hook != nil {
				w.hook(ctx)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.seen = append(w.seen, settled{v, err})
		})
		return next(ctx, d)
	}
}

func TestOnSettledTellsEachVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		returns error
		first   transport.Verdict
	}{
		"handled":       {nil, transport.Done},
		"failed":        {errCard, transport.Failed},
		"snoozed":       {bus.Snooze(time.Second, nil), transport.Deferred},
		"paused":        {bus.Pause(time.Second, nil), transport.Deferred},
		"permanent":     {bus.Permanent(errCard), transport.Failed},
		"dead-lettered": {bus.DeadLetter("rejected", nil), transport.Dead},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, tr *memory.Transport) {
				var w watch
				b := bus.New(tr, quiet, bus.Use(w.Handle))
				tries(t, b, orders, returns(c.returns))
				require.NotEmpty(t, w.seen)
				assert.Equal(t, settled{c.first, nil}, w.seen[0])
				assert.Equal(t, c.returns == nil || c.first == transport.Dead, len(w.seen) == 1, "once for each delivery")
			})
		})
	}
}

// onceRefusing refuses the first Done.
type onceRefusing struct {
	*memory.Transport
	err error
}

func (r *onceRefusing) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	s, err := r.Transport.Subscribe(ctx, t, g)
	return &onceRefusingSub{Subscription: s, err: r.err}, err
}

type onceRefusingSub struct {
	transport.Subscription
	err error
}

func (s *onceRefusingSub) Settle(ctx context.Context, ss []transport.Settlement) error {
	if s.err == nil || ss[0].Verdict != transport.Done {
		return s.Subscription.Settle(ctx, ss)
	}
	err := &transport.SettleError{Errs: make([]error, len(ss))}
	for i := range ss {
		err.Errs[i] = s.err
	}
	s.err = nil
	return err
}

func TestOnSettledTellsOfALostLease(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		var w watch
		b := bus.New(&onceRefusing{tr, transport.ErrLeaseLost}, quiet, bus.Use(w.Handle))
		orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error { return nil })
		bustest.Start(t, b)
		publish(t, b, "1")
		synctest.Wait()
		assert.Equal(t, []settled{{transport.Done, transport.ErrLeaseLost}}, w.seen)
	})
}

func TestOnSettledWaitsForTheOutcomeThatCounts(t *testing.T) {
	for name, err := range map[string]error{"refused": transport.ErrRefused, "away": errors.New("away")} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, tr *memory.Transport) {
				var w watch
				b := bus.New(&onceRefusing{tr, err}, quiet, bus.Use(w.Handle))
				orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error { return nil })
				bustest.Start(t, b)
				publish(t, b, "1")
				bustest.Settle(t, b)
				want := []settled{{transport.Done, nil}}
				if name == "refused" { // settled as failed instead, and then handled again
					want = []settled{{transport.Failed, nil}, {transport.Done, nil}}
				}
				assert.Equal(t, want, w.seen)
			})
		})
	}
}

func TestTheDrainWaitsForHooks(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		began := make(chan struct{})
		w := watch{hook: func(ctx context.Context) {
			close(began)
			<-ctx.Done() // 5 seconds
		}}
		b := bus.New(tr, quiet, bus.Use(w.Handle))
		sub := orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error { return nil })
		stop := bustest.Start(t, b)
		publish(t, b, "1")
		<-began
		begin := time.Now()
		stop()
		assert.Equal(t, []settled{{transport.Done, nil}}, w.seen)
		assert.Equal(t, 5*time.Second, time.Since(begin))
		assert.Empty(t, bus.Leftovers(sub))
	})
}

// TestSlowHooksHoldUpWhatComes: or a store that is slow would be asked by thousands at the same time.
func TestSlowHooksHoldUpWhatComes(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		var now, most atomic.Int64
		w := watch{hook: func(context.Context) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			<-time.After(time.Second)
			now.Add(-1)
		}}
		b := bus.New(tr, quiet, bus.Use(w.Handle))
		orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error { return nil }, bus.Concurrency(1), bus.Prefetch(9))
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(200)))
		bustest.Start(t, b)
		<-time.After(time.Hour)
		synctest.Wait()
		assert.Len(t, w.seen, 200)
		assert.LessOrEqual(t, most.Load(), int64(10))
	})
}

func TestAHookThatPanicsHarmsNobody(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		w := watch{hook: func(context.Context) { panic("boom") }}
		b := bus.New(tr, quiet, bus.Use(w.Handle))
		var got seen
		sub := orders.Subscribe(b, "billing", got.handle)
		stop := bustest.Start(t, b)
		publish(t, b, "1", "2")
		bustest.Settle(t, b)
		stop()
		assert.Len(t, got.ids(), 2)
		assert.Empty(t, bus.Leftovers(sub))
	})
}

// TestOnSettledAfterTheEventWasGivenBack: a handler that ignored its time asks for a hook when it is too late.
func TestOnSettledAfterTheEventWasGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		told := make(chan settled, 2)
		note := func(_ context.Context, v transport.Verdict, err error) { told <- settled{v, err} }
		orders.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
			if e.Attempt > 1 {
				return nil
			}
			e.OnSettled(note)
			time.Sleep(time.Minute)
			e.OnSettled(note)
			return nil
		}, bus.MaxProcessing(time.Second), bus.Lease(time.Second))
		bustest.Start(t, b)
		publish(t, b, "1")
		assert.Equal(t, settled{transport.Failed, nil}, <-told, "it was given back as failed")
		assert.Equal(t, settled{transport.Failed, bus.ErrLeaseLost}, <-told, "and is no longer this handler's")
		synctest.Wait()
	})
}

func TestOnSettledWithoutABusDoesNothing(t *testing.T) {
	e := bustest.NewEvent(t, nil, orders, Order{ID: "1"})
	e.OnSettled(func(context.Context, transport.Verdict, error) { t.Error("called") })
	assert.Nil(t, e.Draining())
}

// TestOnSettledTellsOfAHandlerThatReturnsAfterTheDrain: nobody settles what it returns, and its hooks must not wait for that.
func TestOnSettledTellsOfAHandlerThatReturnsAfterTheDrain(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		var w watch
		stuck := make(chan struct{})
		b := bus.New(tr, quiet, bus.Use(w.Handle), bus.Grace(time.Second))
		orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error { <-stuck; return nil })
		publish(t, b, "1")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		synctest.Wait()
		cancel()
		require.ErrorContains(t, <-ended, "did not return")
		close(stuck)
		synctest.Wait()
		require.Len(t, w.seen, 1)
		assert.ErrorContains(t, w.seen[0].Err, "drain ended")
	})
}
