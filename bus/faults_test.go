package bus_test

import (
	"context"
	"errors"
	"strings"
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

var errAway = errors.New("broker away")

// faulty is a memory transport whose broker can be away.
type faulty struct {
	*memory.Transport
	away    atomic.Bool
	reads   atomic.Int64 // that failed
	settles atomic.Int64
	warn    func(error)
}

func (f *faulty) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	if f.away.Load() {
		return nil, errAway
	}
	f.warn = g.Warn
	s, err := f.Transport.Subscribe(ctx, t, g)
	return &faultySubscription{s, f}, err
}

type faultySubscription struct {
	transport.Subscription
	f *faulty
}

func (s *faultySubscription) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	if s.f.away.Load() {
		s.f.reads.Add(1)
		return nil, errAway
	}
	short, cancel := context.WithTimeout(ctx, time.Second) // so that it notices when the broker goes away
	defer cancel()
	ds, err := s.Subscription.Receive(short, limit)
	if err != nil && ctx.Err() == nil {
		return nil, nil
	}
	return ds, err
}

func (s *faultySubscription) Settle(ctx context.Context, ss []transport.Settlement) error {
	s.f.settles.Add(1)
	if s.f.away.Load() {
		return errAway
	}
	return s.Subscription.Settle(ctx, ss)
}

func TestABrokerThatIsAwayIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		f := &faulty{Transport: tr}
		var log lines
		b := bus.New(f, log.logger())
		var got seen
		orders.Subscribe(b, "billing", got.handle)
		bustest.Start(t, b)
		f.away.Store(true)
		<-time.After(10 * time.Minute)
		synctest.Wait()
		assert.Less(t, f.reads.Load(), int64(1000), "a hot loop")
		assert.ErrorIs(t, b.Ready(), errAway)
		assert.ErrorContains(t, b.Ready(), "orders.placed/billing cannot receive")
		said := strings.Count(log.String(), "cannot receive, trying again")
		assert.True(t, 9 <= said && said <= 11, "once a minute, not %d times in 10", said)
		f.away.Store(false)
		publish(t, b, "1")
		bustest.Settle(t, b)
		require.NoError(t, b.Ready())
		assert.Equal(t, []string{"1"}, got.ids())
		assert.Contains(t, log.String(), "cannot receive: over")
	})
}

func TestTheReturnOfABrokerIsSeenWithinTwoSeconds(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		f := &faulty{Transport: tr}
		b := bus.New(f, quiet)
		var got seen
		orders.Subscribe(b, "billing", got.handle)
		bustest.Start(t, b)
		f.away.Store(true)
		<-time.After(time.Minute)
		for range 300 {
			before := f.reads.Load()
			<-time.After(2 * time.Second)
			require.Greater(t, f.reads.Load(), before, "it is asked again, however long it has been away")
		}
	})
}

func TestOutcomesAreKeptUntilTheBrokerIsBack(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		f := &faulty{Transport: tr}
		var log lines
		b := bus.New(f, log.logger())
		calls := 0
		orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error {
			calls++
			f.away.Store(true)
			return nil
		}, bus.Concurrency(1))
		bustest.Start(t, b)
		publish(t, b, "1")
		<-time.After(10 * time.Minute)
		synctest.Wait()
		assert.Less(t, f.settles.Load(), int64(1000), "a hot loop")
		f.away.Store(false)
		bustest.Settle(t, b)
		assert.Equal(t, 1, calls, "the outcome was not forgotten, so the event did not come again")
		assert.Contains(t, log.String(), "cannot settle")
	})
}

func TestADrainWithoutABrokerEnds(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		f := &faulty{Transport: tr}
		b := bus.New(f, quiet)
		orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error {
			f.away.Store(true)
			return nil
		})
		stop := bustest.Start(t, b)
		publish(t, b, "1")
		synctest.Wait()
		begin := time.Now()
		stop()
		assert.LessOrEqual(t, time.Since(begin), 25*time.Second)
	})
}

func TestASubscriptionAddedWhileTheBrokerIsAwayOpensLater(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		f := &faulty{Transport: tr}
		b := bus.New(f, quiet)
		bustest.Start(t, b)
		f.away.Store(true)
		var got seen
		sub := orders.Subscribe(b, "billing", got.handle)
		<-time.After(time.Minute)
		synctest.Wait()
		require.ErrorIs(t, sub.Err(), errAway)
		require.ErrorIs(t, b.Ready(), bus.ErrNotRunning)
		f.away.Store(false)
		publish(t, b, "1")
		<-time.After(time.Minute)
		synctest.Wait()
		assert.NoError(t, sub.Err())
		assert.Equal(t, []string{"1"}, got.ids())
	})
}

func TestASubscriptionThatNeverOpenedCanBeStopped(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		f := &faulty{Transport: tr}
		b := bus.New(f, quiet)
		bustest.Start(t, b)
		f.away.Store(true)
		sub := orders.Subscribe(b, "billing", new(seen).handle)
		<-time.After(time.Minute)
		require.NoError(t, sub.Stop(t.Context()))
	})
}

func TestRunFailsIfASubscriptionCannotBeOpened(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		f := &faulty{Transport: tr}
		f.away.Store(true)
		b := bus.New(f)
		orders.Subscribe(b, "billing", new(seen).handle)
		err := b.Run(t.Context())
		assert.ErrorIs(t, err, errAway)
		assert.ErrorContains(t, err, "bus: subscribe orders.placed/billing")
	})
}

func TestWarningsOfTheTransport(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		f := &faulty{Transport: tr}
		var log lines
		var told []*transport.LossError
		b := bus.New(f, log.logger(),
			bus.OnLoss(func(*transport.LossError) { panic("mine") }),
			bus.OnLoss(func(l *transport.LossError) { told = append(told, l) }))
		orders.Subscribe(b, "billing", new(seen).handle)
		bustest.Start(t, b)
		f.warn(&transport.LossError{Topic: "orders.placed", Group: "billing", What: "trimmed", Count: 3})
		f.warn(&transport.LossError{Topic: "orders.placed", Group: "billing", What: "too many", Count: 3, Letters: true})
		f.warn(errAway)
		st, _ := b.Stats(t.Context())
		assert.Equal(t, bus.Counts{Losses: 1}, st.Subscriptions[0].Counts)
		assert.Equal(t, 1, strings.Count(log.String(), `msg="data loss suspected"`))
		assert.Equal(t, 2, strings.Count(log.String(), "a hook of OnLoss panicked"))
		require.Len(t, told, 2)
		assert.EqualValues(t, 3, told[0].Count)
		assert.True(t, told[1].Letters)
		assert.Contains(t, log.String(), "level=WARN")
		assert.Contains(t, log.String(), "dead letters removed by their bound", "a bound that does its work is no loss of messages")
	})
}

func TestOnLossNeedsAFunction(t *testing.T) {
	err := bus.New(memory.New(), bus.OnLoss(nil)).Run(t.Context())
	assert.ErrorContains(t, err, "bus: OnLoss(nil): must be a function")
}

func TestPrefetchAdaptsToTheHandler(t *testing.T) {
	for name, c := range map[string]struct {
		takes       time.Duration
		least, most int64
	}{
		"slow": {5 * time.Second, 4, 4},
		"fast": {time.Millisecond, 1000, 1000},
		"half": {100 * time.Millisecond, 30, 41},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, tr *memory.Transport) {
				b := bus.New(tr, quiet)
				orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error {
					<-time.After(c.takes)
					return nil
				}, bus.Concurrency(4))
				require.NoError(t, orders.PublishAll(t.Context(), b, make([]Order, 20000)))
				stop := bustest.Start(t, b)
				<-time.After(c.takes*3000/4 + time.Microsecond) // 3,000 are handled
				synctest.Wait()
				st, err := b.Stats(t.Context())
				require.NoError(t, err)
				assert.GreaterOrEqual(t, st.Subscriptions[0].Lag.Pending, c.least*3/4)
				assert.LessOrEqual(t, st.Subscriptions[0].Lag.Pending, c.most)
				stop()
			})
		})
	}
}
