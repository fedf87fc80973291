package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/chaos/record"
)

// A consumer handles events and writes down when it did.
type consumer struct {
	spec
	log *history.Writer
}

func consume(ctx context.Context, s spec) error {
	log, err := history.Open(s.Dir, s.Name)
	if err != nil {
		return err
	}
	defer log.Close()
	tr, err := open(ctx, s.URL)
	if err != nil {
		return nil // it was asked to end before there was a server
	}
	defer tr.Close()
	c := &consumer{spec: s, log: log}
	b := bus.New(tr, append(record.Bus(log, s.logger()), bus.Grace(s.grace()), bus.Use(c.route()...))...)
	jobs.Subscribe(b, group, c.handle, bus.Lease(s.Lease), bus.Concurrency(cmp.Or(s.Concurrency, 16)),
		bus.Redeliver(bus.Backoff{Min: cmp.Or(s.Backoff, time.Second) / 4, Max: cmp.Or(s.Backoff, time.Second)}))
	fmt.Println("ready")
	return b.Run(ctx)
}

func (c *consumer) route() []bus.Middleware {
	if c.Attempts == 0 {
		return nil
	}
	return []bus.Middleware{dlq.Route(dlq.RouteOptions{MaxAttempts: c.Attempts})}
}

var errOnPurpose = errors.New("on purpose")

func (c *consumer) handle(ctx context.Context, e *bus.Event[job]) error {
	if due := e.Payload.Due; due > 0 && e.Redelivered == 0 && e.Attempt == 1 {
		c.log.Log(history.Record{What: history.Effect, ID: e.ID, Text: fmt.Sprint("late ", time.Now().UnixMilli()-due)})
	}
	if !pause(ctx, c.work(e.ID)) {
		return context.Cause(ctx)
	}
	switch e.Payload.Kind {
	case failsAlways:
		return errOnPurpose
	case failsOnce:
		if e.Attempt == 1 {
			return errOnPurpose
		}
	case panics:
		panic("on purpose")
	case exits:
		os.Exit(3)
	}
	return nil
}

// work is the time that the handler of an event takes, the same in all processes.
func (c *consumer) work(id string) time.Duration {
	if c.Steady || c.Work == 0 {
		return c.Work
	}
	h := fnv.New32a()
	h.Write([]byte(id))
	return time.Duration(h.Sum32()) * time.Nanosecond % (2 * c.Work)
}

func encode(j job) []byte {
	b, err := json.Marshal(j)
	if err != nil {
		panic(err)
	}
	return b
}
