package child

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/chaos/record"
	"github.com/typedbus/typedbus/middleware/compress"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// A Consumer handles events and writes down when it did.
type Consumer struct {
	Spec
	Log history.Log
	Use func(*redisstream.Transport) []bus.Middleware // what its chain has besides; nil for nothing
	Do  func(context.Context, *bus.Event[Job]) error  // what else a handler does, after its work; nil for nothing
}

// Consume is a consumer until ctx ends.
func Consume(ctx context.Context, s Spec) error {
	return Logging(s, func(log history.Log) error { return effective(&Consumer{Spec: s, Log: log}).Run(ctx) })
}

// Logging calls f with the history of a child.
func Logging(s Spec, f func(history.Log) error) error {
	log, err := history.Open(s.Dir, s.Name)
	if err != nil {
		return err
	}
	defer log.Close()
	if s.Lease > 0 {
		defer noteStalls(log, s.Lease/3)()
	}
	return f(log)
}

// Run handles events until ctx ends.
func (c *Consumer) Run(ctx context.Context) error {
	tr, err := Open(ctx, c.URL)
	if err != nil {
		return nil // it was asked to end before there was a server
	}
	defer tr.Close()
	b := bus.New(tr, append(record.Bus(c.Log, c.logger()), bus.Grace(c.GraceOrDefault()), bus.Use(c.chain(tr)...))...)
	for i := range max(c.Topics, 1) {
		Topic(i).Subscribe(b, Group, c.handle, bus.Lease(c.Lease), bus.Concurrency(cmp.Or(c.Concurrency, 16)),
			bus.Redeliver(bus.Backoff{Min: cmp.Or(c.Backoff, time.Second) / 4, Max: cmp.Or(c.Backoff, time.Second)}))
	}
	fmt.Println("ready")
	return b.Run(ctx)
}

func (c *Consumer) chain(tr *redisstream.Transport) (ms []bus.Middleware) {
	if c.Attempts > 0 {
		ms = append(ms, dlq.Route(dlq.RouteOptions{MaxAttempts: c.Attempts}), compress.Zstd(compress.Options{}).Handle)
	}
	if c.Use != nil {
		ms = append(ms, c.Use(tr)...)
	}
	return ms
}

var errOnPurpose = errors.New("on purpose")

func (c *Consumer) handle(ctx context.Context, e *bus.Event[Job]) error {
	if due := e.Payload.Due; due > 0 && e.Redelivered == 0 && e.Attempt == 1 {
		c.Log.Log(history.Record{What: history.Effect, ID: e.ID, Text: fmt.Sprint("late ", time.Now().UnixMilli()-due)})
	}
	if !pause(ctx, c.work(e.ID)) {
		return context.Cause(ctx)
	}
	switch e.Payload.Kind {
	case FailsAlways:
		return errOnPurpose
	case FailsOnce:
		if e.Attempt == 1 {
			return errOnPurpose
		}
	case Panics:
		panic("on purpose")
	case Exits:
		os.Exit(3)
	}
	if c.Do == nil {
		return nil
	}
	return c.Do(ctx, e)
}

// work is the time that the handler of an event takes, the same in all processes.
func (c *Consumer) work(id string) time.Duration {
	if c.Steady || c.Work == 0 {
		return c.Work
	}
	h := fnv.New32a()
	h.Write([]byte(id))
	return time.Duration(h.Sum32()) * time.Nanosecond % (2 * c.Work)
}
