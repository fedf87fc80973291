package memory_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// BenchmarkRoundTrip publishes, receives and settles messages of 256 bytes with two headers. An operation is one message.
func BenchmarkRoundTrip(b *testing.B) {
	for _, n := range []int{1, 16} {
		for _, batch := range []int{1, 64} {
			b.Run(fmt.Sprintf("goroutines=%d/batch=%d", n, batch), func(b *testing.B) { roundTrip(b, n, batch) })
		}
	}
}

// roundTrip has n publishers and n consumers of one group, each publishing and receiving up to batch messages a call.
func roundTrip(b *testing.B, n, batch int) {
	tr := memory.New()
	defer tr.Close()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	topic := transport.Topic{Name: "bench"}
	var left atomic.Int64
	left.Store(int64(b.N))
	var consumers, publishers sync.WaitGroup
	for range n {
		sub, err := tr.Subscribe(ctx, topic, transport.Group{Name: "g"})
		if err != nil {
			b.Fatal(err)
		}
		consumers.Go(func() {
			var s settler
			for {
				ds, err := sub.Receive(ctx, batch)
				if err != nil {
					return
				}
				s.done(ctx, sub, ds)
				if left.Add(-int64(len(ds))) <= 0 {
					cancel()
				}
			}
		})
	}
	var ticket atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	for range n {
		publishers.Go(func() {
			for {
				size := int64(batch)
				if to := ticket.Add(size); to > int64(b.N) {
					size -= to - int64(b.N)
				}
				if size <= 0 {
					return
				}
				if err := tr.Publish(ctx, topic, fresh(int(size))); err != nil {
					b.Error(err)
				}
			}
		})
	}
	publishers.Wait()
	consumers.Wait()
}

// A settler settles what was received, and uses its memory again.
type settler struct{ ss []transport.Settlement }

func (s *settler) done(ctx context.Context, sub transport.Subscription, ds []*transport.Delivery) {
	s.ss = s.ss[:0]
	for _, d := range ds {
		s.ss = append(s.ss, transport.Settlement{Delivery: d, Verdict: transport.Done})
	}
	if err := sub.Settle(ctx, s.ss); err != nil {
		panic(err)
	}
}

var (
	benchBody    = make([]byte, 256)
	benchHeaders = transport.Headers{{Name: "traceparent", Value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, {Name: "source", Value: "bench"}}
)

// fresh makes messages. Their ids are all the same: making ids is not the transport's work.
func fresh(n int) []*transport.Message {
	all := make([]transport.Message, n)
	ms := make([]*transport.Message, n)
	for i := range all {
		all[i] = transport.Message{ID: "0199d0c2-7b6e-7c3a-9d60-2d3f6a1b5c4e", Headers: benchHeaders, Body: benchBody}
		ms[i] = &all[i]
	}
	return ms
}

// BenchmarkFanOut delivers each message to eight groups. An operation is one message.
func BenchmarkFanOut(b *testing.B) {
	tr := memory.New()
	defer tr.Close()
	ctx := b.Context()
	topic := transport.Topic{Name: "bench"}
	var consumers sync.WaitGroup
	b.ReportAllocs()
	for g := range 8 {
		sub, err := tr.Subscribe(ctx, topic, transport.Group{Name: fmt.Sprint("g", g)})
		if err != nil {
			b.Fatal(err)
		}
		consumers.Go(func() {
			var s settler
			for got := 0; got < b.N; {
				ds, err := sub.Receive(ctx, 64)
				if err != nil {
					return
				}
				s.done(ctx, sub, ds)
				got += len(ds)
			}
		})
	}
	for range b.N {
		if err := tr.Publish(ctx, topic, fresh(1)); err != nil {
			b.Fatal(err)
		}
	}
	consumers.Wait()
}
