package bus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

var errCard = errors.New("card declined")

// try is one call of a handler.
type try struct {
	Attempt int
	After   time.Duration
}

// tries runs one event through a handler that returns outcomes one after the other, nil at last, and returns the calls.
func tries(t *testing.T, b *bus.Bus, topic *bus.Topic[Order], outcomes ...func() error) (ts []try) {
	t.Helper()
	begin := time.Now()
	topic.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
		ts = append(ts, try{e.Attempt, time.Since(begin)})
		if len(ts) > len(outcomes) {
			return nil
		}
		return outcomes[len(ts)-1]()
	}, bus.Redeliver(bus.Backoff{NoJitter: true}))
	bustest.Start(t, b)
	begin = time.Now()
	require.NoError(t, topic.Publish(t.Context(), b, Order{ID: "1"}))
	bustest.Settle(t, b)
	return ts
}

func returns(err error) func() error { return func() error { return err } }

func TestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		outcome func() error
		after   time.Duration
		attempt int
	}{
		"error":             {returns(errCard), time.Second, 2},
		"panic":             {func() error { panic("boom") }, time.Second, 2},
		"goexit":            {func() error { runtime.Goexit(); return nil }, time.Second, 2},
		"snooze":            {returns(bus.Snooze(time.Minute, errCard)), time.Minute, 1},
		"wrapped snooze":    {returns(fmt.Errorf("later: %w", bus.Snooze(time.Minute, nil))), time.Minute, 1},
		"pause":             {returns(bus.Pause(time.Minute, errCard)), time.Minute, 1},
		"permanent":         {returns(bus.Permanent(errCard)), 5 * time.Minute, 2},
		"permanent nil":     {returns(bus.Permanent(nil)), -1, 0},
		"quoted permanent":  {returns(fmt.Errorf("gave up: %v", bus.Permanent(errCard))), time.Second, 2},
		"outermost counts":  {returns(bus.Snooze(time.Minute, bus.Permanent(errCard))), time.Minute, 1},
		"dead letter":       {returns(bus.DeadLetter("rejected", errCard)), -1, 0},
		"snooze below zero": {returns(bus.Snooze(-time.Minute, nil)), 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, tr *memory.Transport) {
				ts := tries(t, bus.New(tr, quiet), orders, c.outcome)
				if c.after < 0 {
					require.Len(t, ts, 1)
					return
				}
				require.Len(t, ts, 2)
				assert.Equal(t, try{c.attempt, c.after}, ts[1])
			})
		})
	}
}

func TestDeadLetterKeepsTheEvent(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		tries(t, bus.New(tr, quiet), orders, returns(errCard), returns(bus.DeadLetter("exhausted", errCard)))
		ls, err := tr.Letters(t.Context(), transport.Topic{Name: "orders.placed"}, "billing", "", 10)
		require.NoError(t, err)
		require.Len(t, ls, 1)
		o, err := orders.Decode(ls[0].Message)
		require.NoError(t, err)
		assert.Equal(t, "1", o.ID)
		assert.Equal(t, "exhausted", ls[0].Reason)
		assert.Equal(t, "card declined", ls[0].Error)
		assert.Equal(t, 2, ls[0].Attempt)
	})
}

func TestVerdictTexts(t *testing.T) {
	assert.EqualError(t, bus.Snooze(time.Minute, errCard), "snoozed for 1m0s: card declined")
	assert.EqualError(t, bus.Pause(time.Minute, nil), "paused for 1m0s")
	assert.EqualError(t, bus.Permanent(errCard), "card declined")
	assert.EqualError(t, bus.DeadLetter("expired", nil), "dead letter: expired")
	for _, err := range []error{bus.Snooze(0, errCard), bus.Pause(0, errCard), bus.Permanent(errCard), bus.DeadLetter("x", errCard)} {
		assert.ErrorIs(t, err, errCard)
	}
}

func TestAPermanentFailureIsSaidAloudAndKept(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		var log lines
		tries(t, bus.New(tr, log.logger()), orders, returns(bus.Permanent(errCard)))
		assert.Contains(t, log.String(), "level=ERROR")
		assert.Contains(t, log.String(), "permanent failure and no dead-letter route")
	})
}

func TestAnUndecodableBodyIsAPermanentFailure(t *testing.T) {
	texts := bus.NewTopic("orders.placed", codec.Bytes())
	for name, body := range map[string]string{"no JSON": "{secret", "too large": `{"ID":"` + string(make([]byte, 100)) + `"}`} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, tr *memory.Transport) {
				var log lines
				b := bus.New(tr, log.logger())
				small := bus.NewTopic("orders.placed", codec.JSON[Order](), bus.MaxBytes(50))
				var got seen
				var verdict error
				small.Subscribe(b, "billing", got.handle, bus.Use(func(next bus.Handler) bus.Handler {
					return func(ctx context.Context, d *bus.Delivery) error {
						verdict = next(ctx, d)
						return nil
					}
				}))
				require.NoError(t, texts.Publish(t.Context(), b, []byte(body)))
				bustest.Start(t, b)
				bustest.Settle(t, b)
				assert.Empty(t, got.ids())
				assert.ErrorIs(t, verdict, bus.ErrUndecodable)
				assert.NotContains(t, verdict.Error(), "secret")
				assert.NotContains(t, log.String(), "secret")
			})
		})
	}
}

func TestPauseProbesWithOneEvent(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		begin, down := time.Now(), true
		var calls []time.Duration
		attempts := map[string]int{}
		orders.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
			if down {
				calls = append(calls, time.Since(begin))
				return bus.Pause(time.Minute, errCard)
			}
			attempts[e.Payload.ID] = e.Attempt
			return nil
		}, bus.Concurrency(1))
		bustest.Start(t, b)
		begin = time.Now()
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(1000)))
		<-time.After(5*time.Minute + time.Second)
		synctest.Wait()
		assert.Equal(t, []time.Duration{0, 1 * time.Minute, 2 * time.Minute, 3 * time.Minute, 4 * time.Minute, 5 * time.Minute}, calls)
		down = false
		bustest.Settle(t, b)
		require.Len(t, attempts, 1000)
		for id, attempt := range attempts {
			assert.Equal(t, 1, attempt, id)
		}
	})
}

func numbered(n int) []Order {
	os := make([]Order, n)
	for i := range os {
		os[i].ID = fmt.Sprint(i)
	}
	return os
}

func TestStagedPublishing(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		var kept *bus.Event[Order]
		orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			kept = e
			if err := invoices.Publish(ctx, e, Order{ID: fmt.Sprint("attempt ", e.Attempt)}); err != nil {
				return err
			}
			if e.Attempt == 1 {
				return errCard
			}
			return nil
		})
		var got seen
		invoices.Subscribe(b, "archive", got.handle)
		publish(t, b, "1")
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.Equal(t, []string{"attempt 2"}, got.ids(), "what a failed attempt published is not stored")
		assert.ErrorContains(t, invoices.Publish(t.Context(), kept, Order{}), "handled already")
	})
}

func TestStagedByARetriedTryIsNotStored(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		retry := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				if err := invoices.Publish(ctx, d, Order{ID: "before"}); err != nil {
					return err
				}
				for next(ctx, d) != nil {
				}
				return nil
			}
		}
		n := 0
		orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			n++
			if err := invoices.Publish(ctx, e, Order{ID: fmt.Sprint("try ", n)}); err != nil {
				return err
			}
			if n < 3 {
				return errCard
			}
			return nil
		}, bus.Use(retry))
		var got seen
		invoices.Subscribe(b, "archive", got.handle, bus.Concurrency(1))
		publish(t, b, "1")
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.Equal(t, []string{"before", "try 3"}, got.ids())
	})
}

func TestMaxProcessing(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		var log lines
		watch := &strict{Transport: tr}
		b := bus.New(watch, log.logger())
		begin := time.Now()
		var mu sync.Mutex
		var calls []try
		var cause error
		stuck := make(chan struct{})
		orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			mu.Lock()
			calls = append(calls, try{e.Attempt, time.Since(begin)})
			mu.Unlock()
			switch e.Attempt {
			case 1: // minds its context
				<-ctx.Done()
				cause = context.Cause(ctx)
				return ctx.Err()
			case 2: // does not
				<-stuck
			}
			return nil
		}, bus.MaxProcessing(time.Minute), bus.Lease(10*time.Second), bus.Concurrency(2), bus.Redeliver(bus.Backoff{NoJitter: true}))
		bustest.Start(t, b)
		begin = time.Now()
		publish(t, b, "1")
		<-time.After(10 * time.Minute)
		close(stuck)
		bustest.Settle(t, b)
		assert.ErrorIs(t, cause, context.DeadlineExceeded)
		assert.ErrorContains(t, cause, "MaxProcessing of 1m0s is over")
		// 1: 60 s and a back-off of 1 s. 2: 60 s, a lease of 10 s, and a back-off of 2 s.
		assert.Equal(t, []try{{1, 0}, {2, 61 * time.Second}, {3, 133 * time.Second}}, calls)
		assert.Contains(t, log.String(), "handler ignores its context")
		assert.Empty(t, watch.breaches, "an abandoned event is settled once")
	})
}

func TestALostLeaseEndsTheHandlersContext(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		lease := losing{Transport: tr}
		b := bus.New(&lease, quiet)
		var cause error
		orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			lease.lose(e.Delivery.Delivery)
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		})
		publish(t, b, "1")
		bustest.Start(t, b)
		synctest.Wait()
		assert.ErrorIs(t, cause, bus.ErrLeaseLost)
		st, _ := b.Stats(t.Context())
		assert.Equal(t, bus.Counts{LeasesLost: 1}, st.Subscriptions[0].Counts, "nothing is settled by who lost the lease")
	})
}

// losing is a transport that can say a lease is lost.
type losing struct {
	*memory.Transport
	lose func(*transport.Delivery)
}

func (l *losing) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	l.lose = g.Lost
	return l.Transport.Subscribe(ctx, t, g)
}
