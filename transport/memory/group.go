package memory

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// A group is one reader of a topic: a place in the log, and the items between their first delivery and their end.
type group struct {
	topic *topic
	name  string

	low     atomic.Uint64             // the first position that is not acknowledged; the topic trims by it
	left    atomic.Pointer[time.Time] // when the last consumer that gave signs of life went; nil while there is one
	waiting atomic.Int32              // how many consumers wait, to be read without the lock

	mu       sync.Mutex
	cursor   uint64 // position of the next message to deliver
	unacked  list   // items in the log: delivered, not acknowledged, in order of position
	aside    list   // other pending items
	pending  int    // items of both lists
	returned queue
	retries  queue
	logFirst bool // whose turn it is, the log's or the retries'
	later    schedule[*item]
	alarm    alarm // for later
	letters  letters
	sweep    alarm // for letters
	acts     acts
	subs     map[*subscription]struct{}
	idle     []*subscription // those that wait, longest first
	made     int             // subscriptions so far
}

func newGroup(t *topic, name string) *group {
	g := &group{topic: t, name: name, subs: map[*subscription]struct{}{}}
	g.returned.state, g.retries.state = returned, retrying
	g.alarm = alarm{timers: &t.broker.timers, ring: g.release}
	g.sweep = alarm{timers: &t.broker.timers, ring: g.sweepLetters}
	return g
}

// begin sets the place in the log, before the first subscription.
func (g *group) begin(pos uint64) {
	g.cursor = pos
	g.low.Store(pos)
}

// wake wakes the consumer that has waited longest, if there is something to deliver.
func (g *group) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wakeOne()
}

// wakeOne wakes one consumer only; that one wakes the next if it leaves something.
func (g *group) wakeOne() {
	if len(g.idle) == 0 || g.ready() == 0 {
		return
	}
	s := g.idle[0]
	g.leaveIdle(s)
	s.rouse()
}

func (g *group) joinIdle(s *subscription) {
	g.idle = append(g.idle, s)
	g.waiting.Store(int32(len(g.idle)))
}

func (g *group) leaveIdle(s *subscription) (was bool) {
	i := slices.Index(g.idle, s)
	if i < 0 {
		return false
	}
	g.idle = slices.Delete(g.idle, i, i+1)
	g.waiting.Store(int32(len(g.idle)))
	return true
}

// ready is how many deliveries can be made now.
func (g *group) ready() int {
	return g.returned.live + g.retries.live + g.fresh()
}

// fresh is how many messages of the log can be delivered.
func (g *group) fresh() int { return int(g.topic.tail.Load() - g.cursor) }

// take leases what is ready to a consumer, as much as the batch has room for. What was returned comes first; retries and
// the log take turns, so that neither starves the other. It returns a loss to warn of, or nil.
func (g *group) take(b *batch) (lost *transport.LossError) {
	g.takeReturned(b)
	g.logFirst = !g.logFirst
	if g.logFirst {
		lost = g.takeFresh(b)
		g.takeRetries(b)
	} else {
		g.takeRetries(b)
		lost = g.takeFresh(b)
	}
	return lost
}

func (g *group) takeReturned(b *batch) {
	for b.left > 0 && g.returned.live > 0 {
		b.again(g.returned.pop())
	}
}

func (g *group) takeRetries(b *batch) {
	for b.left > 0 && g.retries.live > 0 {
		it := g.retries.pop()
		g.aside.push(it)
		g.pending++
		b.again(it)
	}
}

func (g *group) takeFresh(b *batch) (lost *transport.LossError) {
	if b.left == 0 || g.fresh() == 0 {
		return nil
	}
	t := g.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if g.cursor < t.log.first {
		lost = g.skip(t.log.first)
	}
	for b.left > 0 && g.cursor < t.log.next {
		g.unacked.push(b.fresh(t.log.at(g.cursor), g.cursor))
		g.cursor++
		g.pending++
	}
	g.moveLow()
	return lost
}

// skip goes on at a position because what was before it is trimmed.
func (g *group) skip(first uint64) *transport.LossError {
	lost := &transport.LossError{
		Topic: g.topic.name, Group: g.name,
		What:  "messages were trimmed by the topic's retention before this group got them; it goes on with the oldest that is left",
		Count: int64(first - g.cursor),
		From:  strconv.FormatUint(g.cursor, 10),
		To:    strconv.FormatUint(first-1, 10),
	}
	g.cursor = first
	return lost
}

func (g *group) moveLow() {
	low := g.cursor
	if g.unacked.head != nil {
		low = g.unacked.head.pos
	}
	g.low.Store(low)
}

// acknowledge takes a pending item off the log, or off the other pending ones.
func (g *group) acknowledge(it *item) {
	g.pending--
	if it.pos == 0 {
		g.aside.remove(it)
		return
	}
	g.unacked.remove(it)
	it.pos = 0
	g.moveLow()
}

// end ends an item, whatever its state.
func (g *group) end(it *item) {
	switch it.state {
	case leased:
		g.acknowledge(it)
	case returned:
		g.acknowledge(it)
		g.returned.live--
	case retrying:
		g.retries.live--
	case waiting:
		g.later.remove(it.due)
		it.due = nil
	}
	it.state = ended
}

// giveBack makes a leased item ready for another consumer.
func (g *group) giveBack(it *item) {
	if it.state == leased {
		g.returned.push(it)
	}
}

// postpone ends the lease of an item for now.
func (g *group) postpone(it *item, after time.Duration) {
	g.acknowledge(it)
	it = it.keep()
	if after <= 0 {
		g.retries.push(it)
		return
	}
	it.state = waiting
	it.due = g.later.add(time.Now().Add(after), it)
	g.setAlarm()
}

func (g *group) setAlarm() {
	if at, ok := g.later.next(); ok {
		g.alarm.set(at)
	}
}

// release readies what was postponed and is due.
func (g *group) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alarm.clear()
	now := time.Now()
	for {
		it, ok := g.later.due(now)
		if !ok {
			break
		}
		it.due = nil
		g.retries.push(it)
	}
	g.setAlarm()
	g.wakeOne()
}

func (g *group) subscribe(t *Transport, conf transport.Group) *subscription {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.made++
	s := &subscription{
		transport: t, group: g, conf: conf,
		name:  fmt.Sprintf("consumer-%d", g.made),
		awake: make(chan struct{}, 1),
	}
	s.batch.sub = s
	s.alarm = alarm{timers: &g.topic.broker.timers, ring: s.expire}
	g.subs[s] = struct{}{}
	g.watchConsumers()
	g.watchLetters()
	return s
}

// watchConsumers notes since when the group has no consumer that gives signs of life. It is called with the lock held.
func (g *group) watchConsumers() {
	for s := range g.subs {
		if s.alive() {
			g.left.Store(nil)
			return
		}
	}
	if g.left.Load() == nil {
		now := time.Now()
		g.left.Store(&now)
	}
}

// stop turns the alarms off for good.
func (g *group) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alarm.turnOff()
	g.sweep.turnOff()
	for s := range g.subs {
		s.alarm.turnOff()
	}
}
