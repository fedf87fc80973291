package bus_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

type locking struct {
	*memory.Transport
	mu   sync.Mutex
	lost func(*transport.Delivery)
}

func (f *locking) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	f.lost = g.Lost
	s, err := f.Transport.Subscribe(ctx, t, g)
	return &lockingSub{s, f}, err
}

type lockingSub struct {
	transport.Subscription
	f *locking
}

func (s *lockingSub) LastRoundTrip() time.Time {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	return time.Now()
}

func TestReadyAgainstLost(t *testing.T) {
	f := &locking{Transport: memory.New()}
	b := bus.New(f, quiet)
	orders.Subscribe(b, "billing", new(seen).handle)
	stop := bustest.Start(t, b)
	defer stop()
	done := make(chan struct{})
	go func() {
		for range 200000 {
			f.mu.Lock()
			f.lost(&transport.Delivery{Receipt: "x"})
			f.mu.Unlock()
		}
		close(done)
	}()
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
		}
		ok := make(chan struct{})
		go func() { b.Ready(); close(ok) }()
		select {
		case <-ok:
		case <-time.After(3 * time.Second):
			println("DEADLOCK: Ready holds the lock in LastRoundTrip, the transport holds its own in Lost")
			os.Exit(3)
		}
	}
}

func TestReadyWhileNothingCanBeSettled(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		f := &faulty{Transport: tr}
		b := bus.New(f, quiet)
		orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error {
			f.away.Store(true)
			return nil
		}, bus.Concurrency(1), bus.Prefetch(0))
		bustest.Start(t, b)
		publish(t, b, "1")
		<-time.After(time.Hour)
		synctest.Wait()
		err := b.Ready()
		f.away.Store(false)
		assert.Error(t, err, "for an hour the broker is away and nothing is settled")
	})
}
