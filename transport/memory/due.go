package memory

import (
	"container/heap"
	"sync"
	"time"
)

// A schedule holds values until their time has come, and gives them out in the order of their times; those of the same
// time in the order they came.
type schedule[T any] struct {
	h     dueHeap[T]
	count uint64
}

// A dueEntry is a value in a schedule.
type dueEntry[T any] struct {
	at    time.Time
	order uint64
	index int
	value T
}

func (s *schedule[T]) add(at time.Time, v T) *dueEntry[T] {
	s.count++
	e := &dueEntry[T]{at: at, order: s.count, value: v}
	heap.Push(&s.h, e)
	return e
}

func (s *schedule[T]) len() int { return len(s.h) }

func (s *schedule[T]) remove(e *dueEntry[T]) { heap.Remove(&s.h, e.index) }

// next is when the first value is due, and whether there is one.
func (s *schedule[T]) next() (time.Time, bool) {
	if len(s.h) == 0 {
		return time.Time{}, false
	}
	return s.h[0].at, true
}

// due takes the first value out if its time has come.
func (s *schedule[T]) due(now time.Time) (v T, ok bool) {
	if len(s.h) == 0 || s.h[0].at.After(now) {
		return v, false
	}
	return heap.Pop(&s.h).(*dueEntry[T]).value, true
}

type dueHeap[T any] []*dueEntry[T]

func (h dueHeap[T]) Len() int { return len(h) }

func (h dueHeap[T]) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].order < h[j].order
	}
	return h[i].at.Before(h[j].at)
}

func (h dueHeap[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *dueHeap[T]) Push(x any) {
	e := x.(*dueEntry[T])
	e.index = len(*h)
	*h = append(*h, e)
}

func (h *dueHeap[T]) Pop() any {
	old := *h
	n := len(old) - 1
	e := old[n]
	old[n] = nil
	*h = old[:n]
	return e
}

// An alarm rings once at a time. Its owner's lock guards it; ring takes that lock itself, and begins with clear.
type alarm struct {
	timers *sync.WaitGroup // counts the alarms that are set or ringing
	ring   func()

	timer *time.Timer
	at    time.Time
	off   bool
}

// set makes the alarm ring at a time, unless it rings earlier anyhow.
func (a *alarm) set(at time.Time) {
	if a.off || a.timer != nil && !at.Before(a.at) {
		return
	}
	a.clear()
	a.at = at
	a.timers.Add(1)
	a.timer = time.AfterFunc(time.Until(at), func() {
		defer a.timers.Done()
		a.ring()
	})
}

func (a *alarm) clear() {
	if a.timer != nil && a.timer.Stop() {
		a.timers.Done()
	}
	a.timer = nil
}

// turnOff clears the alarm for good.
func (a *alarm) turnOff() {
	a.clear()
	a.off = true
}
