package redisstream

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// The figures that matter are those beside each other: a plain XADD against a lone publisher, and pipelines of raw XADD
// against many publishers. msgs/s is what to look at; run with -benchtime 2s or more, on an idle machine.

func benchMessage() *transport.Message {
	return &transport.Message{
		ID: transport.NewID(), ContentType: "application/json", Body: []byte(`{"order":"42","cents":995,"currency":"EUR"}`),
		Headers: transport.Headers{{Name: "traceparent", Value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}},
	}
}

func BenchmarkPublish(b *testing.B) {
	s := redistest.Start(b)
	topic := transport.Topic{Name: "orders.placed", Retention: transport.Retention{MaxLen: 10_000, Hard: true}}
	for _, callers := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			t := New(s.Client(), Options{})
			defer t.Close()
			run(b, callers, func() error { return t.Publish(b.Context(), topic, []*transport.Message{benchMessage()}) })
		})
	}
	b.Run("batch=100", func(b *testing.B) {
		t := New(s.Client(), Options{})
		defer t.Close()
		ms := make([]*transport.Message, 100)
		for i := range ms {
			ms[i] = benchMessage()
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := t.Publish(b.Context(), topic, ms); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*len(ms))/b.Elapsed().Seconds(), "msgs/s")
	})
}

func rawXADD() []any {
	m := benchMessage()
	return []any{
		"xadd", "orders.raw", "maxlen", "~", 10_000, "*", "id", m.ID, "ct", m.ContentType, "data", m.Body,
		"h.traceparent", m.Headers[0].Value,
	}
}

// BenchmarkRaw is go-redis without us: one XADD a round trip for each caller, then pipelines of the given size.
func BenchmarkRaw(b *testing.B) {
	s := redistest.Start(b)
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			c := s.Client()
			run(b, callers, func() error { return c.Process(b.Context(), redis.NewStringCmd(b.Context(), rawXADD()...)) })
		})
	}
	for _, size := range []int{64, 100, 256} {
		b.Run(fmt.Sprintf("pipeline=%d", size), func(b *testing.B) {
			c := s.Client()
			b.ReportAllocs()
			for b.Loop() {
				p := c.Pipeline()
				for range size {
					p.Process(b.Context(), redis.NewStringCmd(b.Context(), rawXADD()...))
				}
				if _, err := p.Exec(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

// run spreads b.N calls of f over callers and reports the median as well.
func run(b *testing.B, callers int, f func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	lat := make([]time.Duration, b.N)
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for {
				i := left.Add(-1)
				if i < 0 {
					return
				}
				start := time.Now()
				if err := f(); err != nil {
					b.Error(err)
					return
				}
				lat[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	b.ReportMetric(float64(percentile(lat, 50).Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(percentile(lat, 99).Nanoseconds())/1e3, "p99-µs")
}

// BenchmarkLone compares a lone publisher with a plain XADD, turn by turn: which of its two speeds a machine with few cores
// is in changes from second to second, and would decide a comparison one after the other.
func BenchmarkLone(b *testing.B) {
	s := redistest.Start(b)
	topic := transport.Topic{Name: "orders.placed", Retention: transport.Retention{MaxLen: 10_000, Hard: true}}
	t := New(s.Client(), Options{})
	defer t.Close()
	c := s.Client()
	var ours, raw []time.Duration
	for b.Loop() {
		start := time.Now()
		if err := t.Publish(b.Context(), topic, []*transport.Message{benchMessage()}); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		if err := c.Process(b.Context(), redis.NewStringCmd(b.Context(), rawXADD()...)); err != nil {
			b.Fatal(err)
		}
		ours, raw = append(ours, middle.Sub(start)), append(raw, time.Since(middle))
	}
	for _, p := range []int{50, 99} {
		o, r := percentile(ours, p), percentile(raw, p)
		b.ReportMetric(float64(o)/1e3, fmt.Sprintf("ours-p%d-µs", p))
		b.ReportMetric(float64(r)/1e3, fmt.Sprintf("raw-p%d-µs", p))
		b.ReportMetric(float64(o)/float64(r), fmt.Sprintf("p%d-ratio", p))
	}
}
