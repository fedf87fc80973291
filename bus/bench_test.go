package bus_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// What an event costs: an operation is one event. With -cpu 1 the time is the processor's.

var samples = bus.NewTopic("samples", codec.Bytes())

// BenchmarkPublish has no group. The memory transport is in the figures.
func BenchmarkPublish(b *testing.B) {
	tr := memory.New()
	defer tr.Close()
	on := bus.New(tr, quiet)
	b.Run("bytes", func(b *testing.B) {
		body := make([]byte, 128)
		b.ReportAllocs()
		for b.Loop() {
			if err := samples.Publish(b.Context(), on, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := orders.Publish(b.Context(), on, Order{ID: "42", Cents: 995}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkHandle is the engine alone: its transport costs nothing.
func BenchmarkHandle(b *testing.B) {
	tr := &ready{left: b.N}
	for i := range tr.ring {
		m := &bus.Message{ID: strconv.Itoa(i), Body: make([]byte, 128), Time: time.Now()}
		tr.ring[i] = &transport.Delivery{Message: m, Topic: "samples", Group: "g", Attempt: 1, Receipt: m.ID}
	}
	on := bus.New(tr, quiet)
	var c counter
	samples.Subscribe(on, "g", c.handler(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	stop := bustest.Start(b, on)
	c.wait()
	b.StopTimer()
	stop()
}

// ready is a transport that has deliveries made before, and forgets what is settled.
type ready struct {
	ring [4096]*transport.Delivery // more than are held
	next int
	left int
}

func (r *ready) Publish(context.Context, transport.Topic, []*bus.Message) error { return nil }

func (r *ready) Subscribe(context.Context, transport.Topic, transport.Group) (transport.Subscription, error) {
	return readySubscription{r}, nil
}

func (r *ready) Close() error { return nil }

type readySubscription struct{ *ready }

func (r readySubscription) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	if r.left == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ds := r.ring[r.next:min(len(r.ring), r.next+min(limit, r.left))]
	r.left -= len(ds)
	r.next = (r.next + len(ds)) % len(r.ring)
	return ds, nil
}

func (r readySubscription) Settle(context.Context, []transport.Settlement) error { return nil }

func (r readySubscription) Close(context.Context) error { return nil }

// BenchmarkPublishAndHandle is all of it, on the memory transport: 64 goroutines publish, and at most 1,000 events wait.
func BenchmarkPublishAndHandle(b *testing.B) {
	tr := memory.New()
	defer tr.Close()
	on := bus.New(tr, quiet)
	var c counter
	room := make(chan struct{}, 1000)
	c.each = func() { <-room }
	samples.Subscribe(on, "g", c.handler(b.N))
	stop := bustest.Start(b, on)
	b.ReportAllocs()
	b.ResetTimer()
	body := make([]byte, 128)
	var publishers sync.WaitGroup
	var ticket atomic.Int64
	for range 64 {
		publishers.Go(func() {
			for ticket.Add(1) <= int64(b.N) {
				room <- struct{}{}
				if err := samples.Publish(b.Context(), on, body); err != nil {
					b.Error(err)
				}
			}
		})
	}
	publishers.Wait()
	c.wait()
	b.StopTimer()
	stop()
}

// counter is a handler that tells when the last event has come.
type counter struct {
	each func()
	left atomic.Int64
	done chan struct{}
}

func (c *counter) handler(n int) bus.HandlerOf[[]byte] {
	c.left.Store(int64(n))
	c.done = make(chan struct{})
	return func(context.Context, *bus.Event[[]byte]) error {
		if c.each != nil {
			c.each()
		}
		if c.left.Add(-1) == 0 {
			close(c.done)
		}
		return nil
	}
}

func (c *counter) wait() { <-c.done }
