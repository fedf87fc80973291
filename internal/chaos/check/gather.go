package check

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/typedbus/typedbus/internal/chaos/history"
)

// checker is a history, ordered by event. A moment is the index of a record, plus 1; 0 is never.
type checker struct {
	h   []history.Record
	p   Promises
	end End

	events    []event
	processes []process
	all       []span // what befalls everybody
	runs      []run  // linked by event

	eventOf   map[string]int32
	processOf map[string]int32

	report   Report
	breaches map[breachKind]*Breach
	counts   map[breachKind]int
	missing  []*event // confirmed, and without an end
	dead     int      // events that have letters
}

type event struct {
	id          string
	first, last int32 // runs, plus 1

	publishing, published, refused int32 // moments: the first, the first, the last
	tries                          int32 // that may have stored it, without those that are confirmed
	open                           bool  // a try has no outcome

	finished, effects, doneAt, dead, stored, letters int32
}

// run is one call of a handler.
type run struct {
	process, next, number int32 // next is plus 1
	attempt, redelivered  int32
	start, end, settled   int32 // moments
	gone                  int32 // the moment when it was given back though it may still run
	ok, done, named       bool
}

type process struct {
	name   string
	logs   bool
	killed int32
	spans  []span
}

const never = math.MaxInt32

func gather(h []history.Record, p Promises, end End) *checker {
	c := &checker{h: h, p: p, end: end, processOf: make(map[string]int32), eventOf: make(map[string]int32, len(h)/5),
		breaches: make(map[breachKind]*Breach), counts: make(map[breachKind]int)}
	for i := range h {
		r, now := &h[i], int32(i)+1
		switch r.What {
		case history.Killed, history.Paused, history.Resumed, history.Fault, history.Healed:
			c.fault(r, now)
		case history.Loss, history.Recovered:
		default:
			c.record(r, now)
		}
	}
	for id, n := range end.Stored {
		c.event(id).stored = int32(n)
	}
	for _, id := range slices.Sorted(maps.Keys(end.Letters)) {
		c.event(id).letters = int32(end.Letters[id])
	}
	c.spread()
	return c
}

func (c *checker) record(r *history.Record, now int32) {
	e, p := c.event(r.ID), c.process(r.Process)
	c.processes[p].logs = true
	switch r.What {
	case history.Publishing, history.Published, history.NotPublished, history.Unknown:
		e.publish(r, now)
	case history.Effect:
		e.effects++
	default:
		c.handling(e, p, r, now)
	}
}

func (e *event) publish(r *history.Record, now int32) {
	if e.publishing == 0 {
		e.publishing = now
	}
	if r.What == history.Unknown || r.What == history.Publishing && e.open {
		e.tries += max(1, int32(r.Attempt))
	}
	if r.What == history.Published && e.published == 0 {
		e.published = now
	}
	if r.What == history.NotPublished {
		e.refused = now
	}
	e.open = r.What == history.Publishing
}

func (c *checker) handling(e *event, p int32, r *history.Record, now int32) {
	if r.What == history.Started {
		c.begin(e, p, r, now)
		return
	}
	n := c.runOf(e, p, r)
	if n == nil && r.What == history.Ended {
		return
	}
	if n == nil { // its beginning is not on record: it began here at the latest
		n = c.begin(e, p, r, now)
	}
	switch r.What {
	case history.Finished, history.Failed:
		n.end, n.ok = now, r.What == history.Finished
		if n.ok {
			e.finished++
		}
	case history.Ended:
		if strings.Contains(r.Text, "draining") || strings.Contains(r.Text, "MaxProcessing") {
			n.gone = now
		}
	case history.Settled:
		n.settled, n.done = now, r.Text == "done"
		if n.done && e.doneAt == 0 {
			e.doneAt = now
		}
		if r.Text == "dead" {
			e.dead++
		}
	}
}

func (c *checker) begin(e *event, p int32, r *history.Record, now int32) *run {
	c.runs = append(c.runs, run{process: p, attempt: int32(r.Attempt), redelivered: int32(r.Redelivered), start: now})
	n := int32(len(c.runs))
	if e.first == 0 {
		e.first = n
	} else {
		c.runs[e.last-1].next = n
		c.runs[n-1].number = c.runs[e.last-1].number + 1
	}
	e.last = n
	return &c.runs[n-1]
}

// runOf finds whom a record is about: the same delivery in the same process, the oldest that lacks such a record.
func (c *checker) runOf(e *event, p int32, r *history.Record) *run {
	for n := range c.runsOf(e) {
		if n.process == p && n.attempt == int32(r.Attempt) && n.redelivered == int32(r.Redelivered) && n.lacks(r.What) {
			return n
		}
	}
	return nil
}

func (n *run) lacks(what history.What) bool {
	switch what {
	case history.Finished, history.Failed:
		return n.end == 0
	case history.Settled, history.Refused:
		return n.settled == 0
	}
	return n.gone == 0 && n.end == 0 // a context that ends after the handler is not on record
}

func (c *checker) runsOf(e *event) func(func(*run) bool) {
	return func(yield func(*run) bool) {
		for i := e.first; i != 0; i = c.runs[i-1].next {
			if !yield(&c.runs[i-1]) {
				return
			}
		}
	}
}

func (c *checker) event(id string) *event {
	i, ok := c.eventOf[id]
	if !ok {
		i = int32(len(c.events))
		c.eventOf[id] = i
		c.events = append(c.events, event{id: id})
	}
	return &c.events[i]
}

func (c *checker) process(name string) int32 {
	i, ok := c.processOf[name]
	if !ok {
		i = int32(len(c.processes))
		c.processOf[name] = i
		c.processes = append(c.processes, process{name: name})
	}
	return i
}

// copies is how many entries of the event there may be, each to be handled for itself.
func (c *checker) copies(e *event) int32 {
	n := int32(1)
	if !c.p.Dedup {
		n += e.tries
	}
	return max(n, e.stored)
}
