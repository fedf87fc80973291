package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/examples/internal/week"
)

// raiseAlerts publishes an alert for every strong earthquake. It publishes through the event: the alert is stored together
// with the acknowledgement of the quake, so a crash leads to neither two alerts nor none.
func raiseAlerts(ctx context.Context, e *bus.Event[week.Quake]) error {
	q := e.Payload
	if !q.Strong() {
		return nil
	}
	alert := Alert{QuakeID: q.ID, Magnitude: q.Magnitude, Place: q.Place}
	return QuakeAlert.Publish(ctx, e, alert, bus.Key(q.Network), bus.Header(runHeader, e.Headers.Get(runHeader)))
}

// page fails at first, as pagers do, and gets every alert out on the second attempt.
func page(_ context.Context, e *bus.Event[Alert]) error {
	if e.Attempt == 1 {
		return errors.New("pager: busy")
	}
	return nil
}

// archive appends quakes to a file of JSON lines, a batch at a time.
type archive struct{ w io.Writer }

func (a archive) write(_ context.Context, es []*bus.Event[week.Quake]) error {
	var lines []byte
	for _, e := range es {
		line, err := json.Marshal(e.Payload)
		if err != nil {
			return bus.Permanent(err)
		}
		lines = append(append(lines, line...), '\n')
	}
	_, err := a.w.Write(lines) // one write a batch, so that a failed batch leaves no half of itself
	return err
}

// networks keeps the figures of each seismic network.
type networks struct {
	mu sync.Mutex
	by map[string]*network
}

type network struct {
	count          int
	strongest, sum float64
}

func (n *networks) add(_ context.Context, e *bus.Event[week.Quake]) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	x := n.by[e.Payload.Network]
	if x == nil {
		x = &network{strongest: e.Payload.Magnitude}
		n.by[e.Payload.Network] = x
	}
	x.count++
	x.sum += e.Payload.Magnitude
	x.strongest = max(x.strongest, e.Payload.Magnitude)
	return nil
}
