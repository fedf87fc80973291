package memory

import (
	"slices"

	"github.com/typedbus/typedbus/transport"
)

// An item is a message on its way through a group, from its first delivery to its end. The group's lock guards it.
type item struct {
	msg         *transport.Message // never written to: others read it
	pos         uint64             // in the log, while the group has not acknowledged it there; else 0
	attempt     int
	redelivered int
	replays     int
	state       state
	due         *dueEntry[*item] // while waiting
	prev, next  *item            // in the list it is in
	moved       *item            // what took its place; see keep
}

type state uint8

const (
	leased   state = iota // a consumer has it
	returned              // a consumer had it and ended nothing: to be delivered as soon as possible
	waiting               // Failed or Deferred, and not yet due
	retrying              // Failed or Deferred, and due
	ended                 // Done, Dead, or discarded
)

// A list is a doubly linked list of items.
type list struct{ head, tail *item }

func (l *list) push(it *item) {
	it.prev, it.next = l.tail, nil
	if l.tail == nil {
		l.head = it
	} else {
		l.tail.next = it
	}
	l.tail = it
}

func (l *list) remove(it *item) {
	if it.prev == nil {
		l.head = it.next
	} else {
		it.prev.next = it.next
	}
	if it.next == nil {
		l.tail = it.prev
	} else {
		it.next.prev = it.prev
	}
	it.prev, it.next = nil, nil
}

// A queue is a first-in first-out queue of items. Items that meanwhile left the state they were queued in are passed over.
type queue struct {
	items []*item
	head  int
	live  int // how many of items are still in that state
	state state
}

func (q *queue) push(it *item) {
	it.state = q.state
	if q.head > len(q.items)/2 { // half of it is past: move the rest down instead of growing
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, it)
	q.live++
}

// pop returns nil if there is none.
func (q *queue) pop() *item {
	for q.head < len(q.items) {
		it := q.items[q.head]
		q.items[q.head] = nil
		q.head++
		if it.state == q.state {
			q.live--
			return it
		}
	}
	q.items, q.head = q.items[:0], 0
	return nil
}

// keep returns an item that takes the place of it, and shares no memory with the batch it came with: one message that
// waits for hours must not keep its neighbours.
func (it *item) keep() *item {
	m := *it.msg
	m.Body = slices.Clone(m.Body)
	c := &item{msg: &m, attempt: it.attempt, redelivered: it.redelivered, replays: it.replays, state: it.state}
	it.moved, it.msg = c, nil
	return c
}

// latest is the item that took the place of it, if any.
func (it *item) latest() *item {
	for it.moved != nil {
		it = it.moved
	}
	return it
}
