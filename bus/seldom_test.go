package bus_test

import (
	"context"
	"strings"
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

// losesLeases subscribes a handler of 20 at once whose leases are lost a second after they came, for the first n deliveries, and that
// returns what end makes of its context.
func losesLeases(b *bus.Bus, lease *strict, n int, end func(context.Context) error) {
	orders.Subscribe(b, "billing", func(ctx context.Context, _ *bus.Event[Order]) error { return end(ctx) }, bus.Concurrency(20))
	lease.received = func(s *strictSubscription, ds []*transport.Delivery) {
		for _, d := range ds {
			if n--; n >= 0 {
				time.AfterFunc(time.Second, func() { s.loseLease(d) })
			}
		}
	}
}

func TestManyLostLeasesAreOneLineAndACount(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		const line = `msg="lease lost while handling; another consumer has the event"`
		var log lines
		lease := &strict{Transport: tr}
		b := bus.New(lease, log.logger())
		losesLeases(b, lease, 30, func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(2 * time.Second):
				return nil
			}
		})
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(20)))
		stop := bustest.Start(t, b)
		<-time.After(30 * time.Second)
		assert.Equal(t, 1, strings.Count(log.String(), line), "the first, at once")
		assert.NotContains(t, log.String(), "more=")
		<-time.After(5 * time.Minute)
		assert.Equal(t, 2, strings.Count(log.String(), line))
		assert.Contains(t, log.String(), line+" topic=orders.placed group=billing more=29 within=1m0s")
		st, err := b.Stats(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 30, st.Subscriptions[0].LeasesLost, "the count has them all")
		stop()
		assert.Empty(t, lease.breaches)
	})
}

func TestRefusedOutcomesAreOneLineAndACountAtTheDrain(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		const line = `msg="outcome refused, lease lost: another consumer has the event"`
		var log lines
		b := bus.New(&refusesLate{tr}, log.logger())
		orders.Subscribe(b, "billing", new(seen).handle)
		require.NoError(t, orders.PublishAll(t.Context(), b, numbered(20)))
		stop := bustest.Start(t, b)
		synctest.Wait()
		assert.Equal(t, 1, strings.Count(log.String(), line))
		stop()
		assert.Equal(t, 2, strings.Count(log.String(), line), "the drain does not keep the count to itself")
		assert.Contains(t, log.String(), "more=19")
	})
}

// refusesLate is a transport whose other consumer has every event before its outcome comes.
type refusesLate struct{ *memory.Transport }

func (f *refusesLate) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	s, err := f.Transport.Subscribe(ctx, t, g)
	return &refusesLateSub{s}, err
}

type refusesLateSub struct{ transport.Subscription }

func (s *refusesLateSub) Settle(_ context.Context, ss []transport.Settlement) error {
	e := &transport.SettleError{Errs: make([]error, len(ss))}
	for i := range ss {
		e.Errs[i] = transport.ErrLeaseLost
	}
	return e
}
