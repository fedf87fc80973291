package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/examples/internal/week"
)

// runHeader marks the events of one run, so that a run on a Redis that has seen others counts its own events only.
const runHeader = "run"

// tally counts what was handled, each event once however often it was delivered.
type tally struct {
	run       string
	published int
	begin     time.Time
	done      func() // called when all is handled

	mu      sync.Mutex
	handled map[string]map[string]bool // group to event ids
	alerts  map[string]bool            // ids of quakes that raised one
	retried int
}

func newTally(published int, done func()) *tally {
	return &tally{
		run: time.Now().Format(time.RFC3339Nano), published: published, begin: time.Now(), done: done,
		handled: make(map[string]map[string]bool), alerts: make(map[string]bool),
	}
}

// counted wraps a handler: when it has ended well the event counts as handled by its group. It is typed middleware, see bus.Wrap.
func counted[T any](y *tally) bus.MiddlewareOf[T] {
	return func(next bus.HandlerOf[T]) bus.HandlerOf[T] {
		return func(ctx context.Context, e *bus.Event[T]) error {
			if e.Headers.Get(runHeader) != y.run {
				return nil // left over from a run that was interrupted
			}
			if err := next(ctx, e); err != nil {
				return err
			}
			y.count(e.Delivery)
			return nil
		}
	}
}

func (y *tally) count(d *bus.Delivery) {
	y.mu.Lock()
	defer y.mu.Unlock()
	ids := y.handled[d.Group]
	if ids == nil {
		ids = make(map[string]bool)
		y.handled[d.Group] = ids
	}
	if ids[d.ID] {
		return
	}
	ids[d.ID] = true
	if d.Attempt > 1 {
		y.retried++
	}
	if y.complete() {
		y.done()
	}
}

// raised wraps raiseAlerts and counts the alerts it publishes.
func (y *tally) raised(next bus.HandlerOf[week.Quake]) bus.HandlerOf[week.Quake] {
	return func(ctx context.Context, e *bus.Event[week.Quake]) error {
		err := next(ctx, e)
		if err == nil && e.Payload.Strong() {
			y.mu.Lock()
			defer y.mu.Unlock()
			y.alerts[e.Payload.ID] = true
		}
		return err
	}
}

// complete: every group has handled every quake, and the pager every alert.
func (y *tally) complete() bool {
	return y.everywhere() == y.published && len(y.handled["pager"]) == len(y.alerts)
}

// everywhere is how many quakes all three groups have handled.
func (y *tally) everywhere() int {
	return min(len(y.handled["alerts"]), len(y.handled["stats"]), len(y.handled["archive"]))
}

// progress prints where each group stands, whenever that has changed, until ctx ends.
func (y *tally) progress(ctx context.Context, w io.Writer) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		if line := y.line(); line != last {
			fmt.Fprintln(w, line)
			last = line
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (y *tally) line() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return fmt.Sprintf("of %d quakes: alerts %d, stats %d, archive %d; %d alerts, %d paged",
		y.published, len(y.handled["alerts"]), len(y.handled["stats"]), len(y.handled["archive"]), len(y.alerts), len(y.handled["pager"]))
}

// result is the last line of the output.
type result struct {
	Published int   `json:"published"`
	Handled   int   `json:"handled"`
	Alerts    int   `json:"alerts"`
	Paged     int   `json:"paged"`
	Retried   int   `json:"retried"`
	Archived  int   `json:"archived"`
	ElapsedMS int64 `json:"elapsed_ms"`
}

func (y *tally) print(w io.Writer) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	return json.NewEncoder(w).Encode(result{
		Published: y.published, Handled: y.everywhere(), Alerts: len(y.alerts), Paged: len(y.handled["pager"]),
		Retried: y.retried, Archived: len(y.handled["archive"]), ElapsedMS: time.Since(y.begin).Milliseconds(),
	})
}
