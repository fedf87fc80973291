package middleware

import (
	"sync"
	"time"
)

// A lateWatch reports the handlers of one subscription that do not return long after their limit. It has one timer for all of
// them, which is set while there are any: a timer for each would cost more than all else that Timeout does.
type lateWatch struct {
	after time.Duration // since the deadline

	mu          sync.Mutex // guards all below
	first, last *limited   // in the order of their deadlines, which is that of their beginning
	timer       *time.Timer
	set         bool
}

func (w *lateWatch) add(c *limited) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.prev = w.last; c.prev != nil {
		c.prev.next = c
	} else {
		w.first = c
	}
	w.last = c
	w.setFor(w.first)
}

// setFor sets the timer for the one that is late first, unless it is set: then it is set for one before, and finds this one.
func (w *lateWatch) setFor(c *limited) {
	if w.set || c == nil {
		return
	}
	w.set = true
	d := time.Until(c.deadline) + w.after
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.report)
		return
	}
	w.timer.Reset(d)
}

// remove says whether c was reported.
func (w *lateWatch) remove(c *limited) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !c.reported {
		w.unlink(c)
	}
	return c.reported
}

func (w *lateWatch) unlink(c *limited) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		w.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		w.last = c.prev
	}
	c.prev, c.next = nil, nil
}

// report is called by the timer.
func (w *lateWatch) report() {
	for _, c := range w.late(time.Now()) {
		c.reportLate()
	}
}

// late takes out those that are late now, and sets the timer for the next.
func (w *lateWatch) late(now time.Time) (cs []*limited) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := w.first; c != nil && !now.Before(c.deadline.Add(w.after)); c = w.first {
		w.unlink(c)
		c.reported = true
		cs = append(cs, c)
	}
	w.set = false
	w.setFor(w.first)
	return cs
}
