package bus_test

import (
	"context"
	"fmt"
	"os"
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

// slowOpen is a transport whose Subscribe takes a while, as a round trip may, and counts.
type slowOpen struct {
	*memory.Transport
	takes time.Duration
	opens atomic.Int64
	shuts atomic.Int64
}

func (f *slowOpen) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	f.opens.Add(1)
	s, err := f.Transport.Subscribe(context.WithoutCancel(ctx), t, g)
	if f.takes > 0 {
		<-time.After(f.takes) // the answer is on its way
	}
	if err != nil {
		return nil, err
	}
	return &countingSub{Subscription: s, f: f}, nil
}

type countingSub struct {
	transport.Subscription
	f *slowOpen
}

func (s *countingSub) Close(ctx context.Context) error {
	s.f.shuts.Add(1)
	return s.Subscription.Close(ctx)
}

func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(d):
		panic(what + " did not return within " + d.String()) // a hung bubble cannot be left otherwise
	}
}

func TestStopWhileOpening(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		f := &slowOpen{Transport: tr, takes: time.Second}
		b := bus.New(f, quiet)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go b.Run(ctx)
		synctest.Wait()
		sub := orders.Subscribe(b, "billing", new(seen).handle)
		<-time.After(500 * time.Millisecond) // it is opening
		within(t, time.Hour, "Stop", func() { assert.NoError(t, sub.Stop(t.Context())) })
	})
}

func TestRunEndsWhileOpening(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		f := &slowOpen{Transport: tr, takes: time.Second}
		b := bus.New(f, quiet)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		synctest.Wait()
		orders.Subscribe(b, "billing", new(seen).handle)
		<-time.After(500 * time.Millisecond)
		cancel()
		within(t, time.Hour, "Run", func() { <-ended })
	})
}

func TestSubscribeThenStopAtOnce(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	b := bus.New(tr, quiet)
	defer bustest.Start(t, b)()
	for i := range 2000 {
		sub := orders.Subscribe(b, "billing", new(seen).handle)
		for range i % 7 {
			runtime.Gosched()
		}
		done := make(chan struct{})
		go func() { sub.Stop(t.Context()); close(done) }()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			println("Stop hangs, iteration ", i)
			os.Exit(3)
		}
	}
}

func TestStopWhileRunOpens(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		f := &slowOpen{Transport: tr, takes: time.Second}
		b := bus.New(f, quiet)
		var got seen
		sub := orders.Subscribe(b, "billing", got.handle)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		<-time.After(500 * time.Millisecond)
		require.NoError(t, sub.Stop(t.Context()))
		<-time.After(time.Minute)
		publish(t, b, "1")
		synctest.Wait()
		assert.Empty(t, got.ids(), "a stopped subscription handles nothing")
		cancel()
		<-ended
		assert.Equal(t, f.opens.Load(), f.shuts.Load(), "opened and closed")
	})
}

func TestSubscribeConcurrentlyWithRun(t *testing.T) {
	for i := range 3000 {
		f := &slowOpen{Transport: memory.New()}
		b := bus.New(f, quiet)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		var start sync.WaitGroup
		start.Add(1)
		go func() { start.Wait(); ended <- b.Run(ctx) }()
		var subs sync.WaitGroup
		for g := range 8 {
			subs.Go(func() {
				start.Wait()
				orders.Subscribe(b, fmt.Sprint("g", g), new(seen).handle)
			})
		}
		start.Done()
		subs.Wait()
		for b.Ready() != nil {
			runtime.Gosched()
		}
		n := f.opens.Load()
		cancel()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			println(fmt.Sprintf("Run hangs in iteration %d, %d opens of 8", i, n))
			os.Exit(3)
		}
		f.Close()
		if n > 8 {
			t.Fatalf("iteration %d: 8 declarations were opened %d times, closed %d times", i, n, f.shuts.Load())
		}
	}
}
