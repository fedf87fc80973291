package contest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// A Latency is a distribution of times in microseconds.
type Latency struct {
	P50, P90, P99, Max float64
	Events             int64
}

const longest = int64(time.Minute)

// MeasureLatency publishes perSecond events a second for d and measures from the time at which each was to be published until its
// handler begins. The load is open: an event is published when its time has come, whatever became of those before it, and one
// that is late because of them counts as late.
func MeasureLatency(ctx context.Context, s Session, perSecond int, d time.Duration) (Latency, error) {
	l := &latencies{hist: hdrhistogram.New(1, longest, 3)}
	if err := s.Consume(ctx, l.handle); err != nil {
		return Latency{}, fmt.Errorf("consume: %w", err)
	}
	warmup := int64(perSecond / 2)
	n := warmup + int64(d.Seconds()*float64(perSecond))
	l.from.Store(time.Now().Add(time.Duration(warmup) * time.Second / time.Duration(perSecond)).UnixNano())
	if err := l.publish(ctx, s, n, time.Second/time.Duration(perSecond)); err != nil {
		return Latency{}, err
	}
	for l.handled.Load() < n {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return Latency{}, fmt.Errorf("%d of %d events are handled: %w", l.handled.Load(), n, ctx.Err())
		}
	}
	return l.result(), nil
}

type latencies struct {
	mu      sync.Mutex
	hist    *hdrhistogram.Histogram
	from    atomic.Int64 // what was to be published earlier is warm-up
	handled atomic.Int64
}

func (l *latencies) handle(e *Event) {
	now := time.Now()
	if e.Placed.UnixNano() >= l.from.Load() {
		l.mu.Lock()
		_ = l.hist.RecordValue(min(max(int64(now.Sub(e.Placed)), 1), longest))
		l.mu.Unlock()
	}
	l.handled.Add(1)
}

// publish gives each event to a goroutine of its own when its time has come.
func (l *latencies) publish(ctx context.Context, s Session, n int64, every time.Duration) error {
	// A thread of its own sleeps more exactly than Go's timers do when nothing else is going on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	began := time.Now()
	for i := range n {
		at := began.Add(time.Duration(i) * every)
		for wait := time.Until(at); wait > 0; wait = time.Until(at) { // a signal ends a sleep too early
			ts := unix.NsecToTimespec(int64(wait))
			_ = unix.Nanosleep(&ts, nil)
		}
		e := NewEvent(i)
		e.Placed = at
		wg.Go(func() {
			if err := s.Publish(ctx, e); err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return fmt.Errorf("publish: %w", *err)
	}
	return nil
}

func (l *latencies) result() Latency {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := func(q float64) float64 { return float64(l.hist.ValueAtQuantile(q)) / 1e3 }
	return Latency{P50: at(50), P90: at(90), P99: at(99), Max: float64(l.hist.Max()) / 1e3, Events: l.hist.TotalCount()}
}

// MeasureLone publishes one event after the other for d, with a and b in turns, and says how long each took.
func MeasureLone(ctx context.Context, a, b Session, d time.Duration) (Latency, Latency, error) {
	ls := [2]*latencies{{hist: hdrhistogram.New(1, longest, 3)}, {hist: hdrhistogram.New(1, longest, 3)}}
	until := time.Now().Add(d)
	for i := int64(0); time.Now().Before(until); i++ {
		for turn, s := range []Session{a, b} {
			began := time.Now()
			if err := s.Publish(ctx, anyEvent(i)); err != nil {
				return Latency{}, Latency{}, fmt.Errorf("publish: %w", err)
			}
			_ = ls[turn].hist.RecordValue(int64(time.Since(began)))
		}
	}
	return ls[0].result(), ls[1].result(), nil
}
