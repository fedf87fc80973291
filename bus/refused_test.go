package bus_test

import (
	"context"
	"fmt"
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

// refusing is a transport that will never store what is staged.
type refusing struct {
	*memory.Transport
	calls atomic.Int64
}

var errWrongType = fmt.Errorf("%w: the key holds the wrong kind of value", transport.ErrRefused)

func (f *refusing) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	s, err := f.Transport.Subscribe(ctx, t, g)
	return &refusingSub{s, f}, err
}

type refusingSub struct {
	transport.Subscription
	f *refusing
}

func (s *refusingSub) Settle(ctx context.Context, ss []transport.Settlement) error {
	s.f.calls.Add(1)
	e := &transport.SettleError{Errs: make([]error, len(ss))}
	bad := false
	for i := range ss {
		if len(ss[i].Stage) > 0 {
			e.Errs[i], bad = errWrongType, true
			continue
		}
		e.Errs[i] = s.Subscription.Settle(ctx, ss[i:i+1])
	}
	if bad {
		return e
	}
	return nil
}

func TestAStagedMessageThatCannotBeStoredStopsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		f := &refusing{Transport: tr}
		b := bus.New(f, quiet, bus.Grace(time.Second))
		var good atomic.Int64
		bad := 0
		orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			if e.Payload.Cents == 1 {
				bad++
				return invoices.Publish(ctx, e, Order{})
			}
			good.Add(1)
			return nil
		}, bus.Concurrency(1), bus.Prefetch(3))
		bustest.Start(t, b)
		require.NoError(t, orders.PublishAll(t.Context(), b, []Order{{Cents: 1}, {Cents: 1}, {Cents: 1}, {Cents: 1}}))
		<-time.After(time.Minute)
		require.NoError(t, orders.PublishAll(t.Context(), b, make([]Order, 100)))
		<-time.After(24 * time.Hour)
		synctest.Wait()
		st, _ := b.Stats(t.Context())
		t.Logf("ready: %v; stats: %+v; bad tries %d", b.Ready(), st.Subscriptions[0], bad)
		assert.EqualValues(t, 100, good.Load(), "the other events")
	})
}
