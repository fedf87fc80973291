package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/bench/contest"
	"github.com/typedbus/typedbus/bench/rivals"
)

// tasks are what a child can do.
var tasks = map[string]func(context.Context, spec) (outcome, error){
	"throughput": throughput,
	"latency":    latency,
	"lone":       lone,
	"fill":       fill,
	"drain":      drain,
	"consume":    consume,
	"idle":       idle,
}

func open(ctx context.Context, s spec) (contest.Session, error) {
	r, ok := rivals.Named(s.Rival)
	if !ok {
		return nil, fmt.Errorf("no rival %q", s.Rival)
	}
	return r.Open(ctx, s.Setup)
}

func throughput(ctx context.Context, s spec) (out outcome, err error) {
	session, err := open(ctx, s)
	if err != nil {
		return out, err
	}
	watch := redis.NewClient(&redis.Options{Addr: s.Setup.Redis})
	defer watch.Close()
	out.Throughput, err = contest.MeasureThroughput(ctx, session, contest.Load{
		Publishers: s.Publishers, Batch: s.Batch, Body: s.Setup.Body, NoConsumer: s.NoConsumer, For: s.For, Warmup: s.Warmup, Work: s.Work,
		ServerCPU: func(ctx context.Context) (time.Duration, error) { return serverCPU(ctx, watch) },
	})
	if err != nil {
		return out, err
	}
	return out, session.Close()
}

func latency(ctx context.Context, s spec) (out outcome, err error) {
	session, err := open(ctx, s)
	if err != nil {
		return out, err
	}
	if out.Latency, err = contest.MeasureLatency(ctx, session, s.PerSecond, s.For); err != nil {
		return out, err
	}
	return out, session.Close()
}

// lone publishes with the rival and with a plain XADD, turn by turn: which of its two speeds a machine with few cores is in changes
// from second to second, and would decide a comparison one after the other.
func lone(ctx context.Context, s spec) (out outcome, err error) {
	ours, err := open(ctx, s)
	if err != nil {
		return out, err
	}
	s.Rival, s.Setup.Topic = "raw-single", s.Setup.Topic+".raw"
	raw, err := open(ctx, s)
	if err != nil {
		return out, err
	}
	out.Latency, out.Raw, err = contest.MeasureLone(ctx, ours, raw, s.For)
	return out, err
}

// fill makes a backlog.
func fill(ctx context.Context, s spec) (out outcome, err error) {
	session, err := open(ctx, s)
	if err != nil {
		return out, err
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for range s.Publishers {
		wg.Go(func() {
			for failed.Load() == nil {
				n := int(next.Add(int64(s.Batch)))
				if n > s.Events {
					return
				}
				if err := publishSome(ctx, session, n, s.Batch); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return out, *err
	}
	return out, session.Close()
}

func publishSome(ctx context.Context, session contest.Session, last, n int) error {
	if n == 1 {
		return session.Publish(ctx, contest.NewEvent(int64(last)))
	}
	es := make([]*contest.Event, n)
	for i := range es {
		es[i] = contest.NewEvent(int64(last - i))
	}
	return session.(contest.BatchPublisher).PublishAll(ctx, es)
}

// drain consumes a backlog of a known size, and tells the speed of each tenth. It ends when all is acknowledged.
func drain(ctx context.Context, s spec) (out outcome, err error) {
	session, err := open(ctx, s)
	if err != nil {
		return out, err
	}
	t := newTenths(s.Events)
	if err := session.Consume(ctx, t.handle); err != nil {
		return out, err
	}
	for _, mark := range t.marks {
		select {
		case <-mark:
		case <-ctx.Done():
			return out, fmt.Errorf("%d of %d events are handled: %w", t.handled.Load(), s.Events, ctx.Err())
		}
	}
	for n := int64(0); n < int64(s.Events); <-time.After(time.Millisecond) {
		if n, err = session.Settled(ctx); err != nil {
			return out, err
		}
	}
	out.Tenths = t.speeds()
	return out, session.Close()
}

// tenths notes when each tenth of the events was handled.
type tenths struct {
	handled atomic.Int64
	size    int64
	at      [11]time.Time
	marks   [11]chan struct{} // closed when at is set
}

func newTenths(events int) *tenths {
	t := &tenths{size: int64(events) / 10}
	for i := range t.marks {
		t.marks[i] = make(chan struct{})
	}
	return t
}

func (t *tenths) handle(*contest.Event) {
	switch n := t.handled.Add(1); {
	case n == 1:
		t.mark(0)
	case n%t.size == 0 && n <= 10*t.size:
		t.mark(n / t.size)
	}
}

func (t *tenths) mark(i int64) {
	t.at[i] = time.Now()
	close(t.marks[i])
}

// speeds are in events/s.
func (t *tenths) speeds() (all []float64) {
	for i := range 10 {
		all = append(all, float64(t.size)/t.at[i+1].Sub(t.at[i]).Seconds())
	}
	return all
}

// consume handles events until it is killed.
func consume(ctx context.Context, s spec) (out outcome, err error) {
	session, err := open(ctx, s)
	if err != nil {
		return out, err
	}
	err = session.Consume(ctx, func(*contest.Event) { <-time.After(s.Work) })
	if err != nil {
		return out, err
	}
	<-ctx.Done()
	return out, nil
}

// idle opens subscriptions and does nothing.
func idle(ctx context.Context, s spec) (out outcome, err error) {
	watch := redis.NewClient(&redis.Options{Addr: s.Setup.Redis})
	defer watch.Close()
	others, err := conns(ctx, watch)
	if err != nil {
		return out, err
	}
	session, err := open(ctx, s)
	if err != nil {
		return out, err
	}
	if err := session.Consume(ctx, func(*contest.Event) {}); err != nil {
		return out, err
	}
	<-time.After(s.Settle)
	server, err := serverCPU(ctx, watch)
	if err != nil {
		return out, err
	}
	client, began := contest.CPU(), time.Now()
	<-time.After(s.For)
	client, took := contest.CPU()-client, time.Since(began)
	after, err := serverCPU(ctx, watch)
	if err != nil {
		return out, err
	}
	out.Cores = (client + after - server).Seconds() / took.Seconds()
	n, err := conns(ctx, watch)
	out.Conns = n - others
	return out, err
}

// conns is how many connections the server has, that of c among them.
func conns(ctx context.Context, c *redis.Client) (int, error) {
	list, err := c.ClientList(ctx).Result()
	return strings.Count(list, "\n"), err
}
