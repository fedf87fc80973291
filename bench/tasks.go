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

// drain consumes a backlog of a known size, and tells the speed of each tenth.
func drain(ctx context.Context, s spec) (out outcome, err error) {
	session, err := open(ctx, s)
	if err != nil {
		return out, err
	}
	var handled atomic.Int64
	tenth := int64(s.Events) / 10
	at := make([]time.Time, 11)
	over := make(chan struct{})
	err = session.Consume(ctx, func(*contest.Event) {
		n := handled.Add(1)
		if n == 1 {
			at[0] = time.Now()
		}
		if n%tenth == 0 {
			at[n/tenth] = time.Now()
		}
		if n == 10*tenth {
			close(over)
		}
	})
	if err != nil {
		return out, err
	}
	select {
	case <-over:
	case <-ctx.Done():
		return out, ctx.Err()
	}
	for i := range 10 {
		out.Tenths = append(out.Tenths, float64(tenth)/at[i+1].Sub(at[i]).Seconds())
	}
	return out, session.Close()
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
	session, err := open(ctx, s)
	if err != nil {
		return out, err
	}
	if err := session.Consume(ctx, func(*contest.Event) {}); err != nil {
		return out, err
	}
	<-time.After(s.Settle)
	watch := redis.NewClient(&redis.Options{Addr: s.Setup.Redis})
	defer watch.Close()
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
	list, err := watch.ClientList(ctx).Result()
	out.Conns = strings.Count(list, "\n") - 1 // without that of watch
	return out, err
}
