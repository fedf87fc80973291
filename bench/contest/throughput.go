package contest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// window bounds what is published and not handled yet, the same for everybody: a rival whose consumer is slower than its
// publishers is measured at the speed of its consumer, and not at how fast it makes a backlog.
const window = 10_000

// windowBytes bounds it where bodies are large.
const windowBytes = 64 << 20

// windowOfWork bounds it where handlers take time.
const windowOfWork = 1000

// A Load says what a throughput run does.
type Load struct {
	Publishers int           // goroutines
	Batch      int           // events in one call; 0 or 1 is one by one
	For        time.Duration // how long they publish
	Warmup     time.Duration // before that, not counted
	Body       int           // bytes, if that is not the event itself
	NoConsumer bool          // only publish
	Work       time.Duration // of the handler, for each event; 0 is none

	ServerCPU func(context.Context) (time.Duration, error) // what the server has used; nil if there is none
}

// A Throughput is what a run has shown.
type Throughput struct {
	Events    int64
	Took      time.Duration
	PerSecond float64
	CPU       float64 // microseconds of this process an event
	ServerCPU float64 // microseconds of the server an event
	Allocs    float64 // an event
}

// MeasureThroughput publishes for a while, waits until everything is acknowledged, and says how fast that was altogether.
func MeasureThroughput(ctx context.Context, s Session, l Load) (Throughput, error) {
	r := &run{Session: s, load: l, window: window, gate: make(chan struct{}, 1)}
	if l.Body > 0 {
		r.window = int64(min(window, max(windowBytes/l.Body, 16)))
	}
	if l.Work > 0 { // or they would be measured at how fast they drain a backlog after the end
		r.window = min(r.window, windowOfWork)
	}
	if !l.NoConsumer {
		if err := s.Consume(ctx, r.handle); err != nil {
			return Throughput{}, fmt.Errorf("consume: %w", err)
		}
	}
	if err := r.publishFor(ctx, l.Warmup); err != nil {
		return Throughput{}, err
	}
	before, err := r.usage(ctx)
	if err != nil {
		return Throughput{}, err
	}
	began, first := time.Now(), r.published.Load()
	if err := r.publishFor(ctx, l.For); err != nil {
		return Throughput{}, err
	}
	took := time.Since(began)
	after, err := r.usage(ctx)
	n := r.published.Load() - first
	return Throughput{
		Events: n, Took: took,
		PerSecond: float64(n) / took.Seconds(),
		CPU:       float64((after.cpu - before.cpu).Microseconds()) / float64(n),
		ServerCPU: float64((after.server - before.server).Microseconds()) / float64(n),
		Allocs:    float64(after.allocs-before.allocs) / float64(n),
	}, err
}

func (r *run) usage(ctx context.Context) (u usage, err error) {
	u = usageNow()
	if r.load.ServerCPU != nil {
		u.server, err = r.load.ServerCPU(ctx)
	}
	return u, err
}

type run struct {
	Session
	load      Load
	window    int64
	published atomic.Int64
	_         [64]byte // the two counters are on different cache lines
	handled   atomic.Int64
	worthless atomic.Int64  // events without a price: none
	gate      chan struct{} // has room for one of those who wait for the window
}

// handle is the work: all rivals do the same.
func (r *run) handle(e *Event) {
	if e.Cents <= 0 {
		r.worthless.Add(1)
	}
	if r.load.Work > 0 {
		<-time.After(r.load.Work)
	}
	r.handled.Add(1)
}

// publishFor publishes for d, and returns when everything is acknowledged.
func (r *run) publishFor(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	var over atomic.Bool
	defer time.AfterFunc(d, func() { over.Store(true) }).Stop()
	for range r.load.Publishers {
		wg.Go(func() {
			for !over.Load() {
				if err := r.publish(ctx); err != nil {
					failed.CompareAndSwap(nil, &err)
					over.Store(true)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return fmt.Errorf("publish: %w", *err)
	}
	if err := r.awaitSettled(ctx); err != nil {
		return err
	}
	if n := r.worthless.Load(); n > 0 {
		return fmt.Errorf("%d events came without their content", n)
	}
	return nil
}

func (r *run) publish(ctx context.Context) error {
	if err := r.awaitRoom(ctx); err != nil {
		return err
	}
	if r.load.Batch <= 1 {
		return r.Publish(ctx, anyEvent(r.published.Add(1)))
	}
	es := make([]*Event, r.load.Batch)
	last := r.published.Add(int64(len(es)))
	for i := range es {
		es[i] = anyEvent(last - int64(i))
	}
	return r.Session.(BatchPublisher).PublishAll(ctx, es)
}

// awaitRoom waits until the window has room. One publisher looks and the others wait for it: if all of them looked, they would take
// the processor from consumers that are slow already.
func (r *run) awaitRoom(ctx context.Context) error {
	if r.load.NoConsumer || r.hasRoom() {
		return nil
	}
	select {
	case r.gate <- struct{}{}:
		defer func() { <-r.gate }()
	case <-ctx.Done():
		return r.unhandled(ctx)
	}
	for !r.hasRoom() {
		select {
		case <-time.After(200 * time.Microsecond):
		case <-ctx.Done():
			return r.unhandled(ctx)
		}
	}
	return nil
}

func (r *run) unhandled(ctx context.Context) error {
	return fmt.Errorf("%d of %d events are handled: %w", r.handled.Load(), r.published.Load(), ctx.Err())
}

func (r *run) hasRoom() bool { return r.published.Load()-r.handled.Load() < r.window }

// awaitSettled waits until the broker says that all is acknowledged.
func (r *run) awaitSettled(ctx context.Context) error {
	if r.load.NoConsumer {
		return nil
	}
	for r.handled.Load() < r.published.Load() {
		select {
		case <-time.After(100 * time.Microsecond):
		case <-ctx.Done():
			return r.unhandled(ctx)
		}
	}
	for {
		n, err := r.Settled(ctx)
		if err != nil {
			return fmt.Errorf("settled: %w", err)
		}
		if n >= r.published.Load() {
			return nil
		}
		select {
		case <-time.After(200 * time.Microsecond):
		case <-ctx.Done():
			return fmt.Errorf("%d of %d events are acknowledged: %w", n, r.published.Load(), ctx.Err())
		}
	}
}
