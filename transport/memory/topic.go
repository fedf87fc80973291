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

// A topic is a log, what is delayed on its way into it, and the groups that read it.
//
// Locks: a group's lock may be held when the topic's is taken, never the other way round.
type topic struct {
	name   string
	broker *broker

	tail atomic.Uint64 // log.next, to be read without the lock

	mu      sync.Mutex
	log     log
	groups  []*group // replaced, never changed in place
	early   []*group // those that have letters or acts, and no subscription yet
	delayed schedule[transport.Message]
	known   known
	alarm   alarm // for delayed
	keep    transport.Retention
	trimmed uint64 // log.next when the soft bound was last enforced
}

func newTopic(b *broker, name string) *topic {
	t := &topic{name: name, broker: b, log: newLog()}
	t.tail.Store(t.log.next)
	t.alarm = alarm{timers: &b.timers, ring: t.release}
	return t
}

// waiting is how many messages are not due yet.
func (t *topic) waiting() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int64(t.delayed.len())
}

// store appends ms, or puts those that are delayed aside. Call wake afterwards, without any lock.
func (t *topic) store(ms []transport.Message, keep transport.Retention) { t.storeNew(ms, keep, 0) }

// storeNew is store for what is published: with dedup it passes over messages whose ids it knows.
func (t *topic) storeNew(ms []transport.Message, keep transport.Retention, dedup time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now() // under the lock, so that the log is in order of time
	t.keep = keep
	for i := range ms {
		if dedup > 0 && !t.known.add(ms[i].ID, now, dedup) {
			continue
		}
		if ms[i].NotBefore.After(now) {
			t.delayed.add(ms[i].NotBefore, ms[i])
			continue
		}
		t.append(&ms[i], now)
	}
	t.afterAppend(now)
	t.setAlarm()
}

func (t *topic) append(m *transport.Message, now time.Time) {
	m.Time, m.NotBefore = now, time.Time{}
	t.log.append(m)
}

func (t *topic) afterAppend(now time.Time) {
	t.tail.Store(t.log.next)
	t.retain(now)
}

func (t *topic) setAlarm() {
	if at, ok := t.delayed.next(); ok {
		t.alarm.set(at)
	}
}

// release moves what is due into the log.
func (t *topic) release() {
	t.mu.Lock()
	now := time.Now()
	t.alarm.clear()
	for {
		m, ok := t.delayed.due(now)
		if !ok {
			break
		}
		t.append(&m, now)
	}
	t.afterAppend(now)
	t.setAlarm()
	t.mu.Unlock()
	t.wake()
}

// wake tells the groups that there may be something new.
func (t *topic) wake() {
	for _, g := range t.members() {
		if g.waiting.Load() > 0 {
			g.wake()
		}
	}
}

func (t *topic) members() []*group {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.groups
}

func (t *topic) group(name string) *group {
	t.mu.Lock()
	defer t.mu.Unlock()
	return find(t.groups, name)
}

// archive returns the group of that name, be it early. Where there is none it makes one, or returns nil.
func (t *topic) archive(name string, create bool) *group {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := find(t.groups, name)
	if g == nil {
		g = find(t.early, name)
	}
	if g == nil && create {
		g = newGroup(t, name)
		t.early = append(t.early, g)
	}
	return g
}

func find(groups []*group, name string) *group {
	for _, g := range groups {
		if g.name == name {
			return g
		}
	}
	return nil
}

// join returns the group of that name, and makes it where there is none.
func (t *topic) join(conf transport.Group) (*group, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if g := find(t.groups, conf.Name); g != nil {
		return g, nil
	}
	pos, err := t.position(conf.Start)
	if err != nil {
		return nil, err
	}
	g := find(t.early, conf.Name)
	if g == nil {
		g = newGroup(t, conf.Name)
	}
	t.early = slices.DeleteFunc(t.early, func(e *group) bool { return e == g })
	g.begin(pos)
	t.groups = append(t.groups[:len(t.groups):len(t.groups)], g)
	return g, nil
}

func (t *topic) position(start transport.Start) (uint64, error) {
	switch {
	case start.Latest:
		return t.log.next, nil
	case start.ID != "":
		pos, err := strconv.ParseUint(start.ID, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("bad start position %.40q: use the number of a message, the first stored being 1", start.ID)
		}
		return max(t.log.first, min(pos, t.log.next)), nil
	case !start.Time.IsZero():
		return t.log.since(start.Time), nil
	}
	return t.log.first, nil
}

// stop turns the alarms of the topic and its groups off for good.
func (t *topic) stop() {
	t.mu.Lock()
	t.alarm.turnOff()
	t.mu.Unlock()
	for _, g := range t.members() {
		g.stop()
	}
}
