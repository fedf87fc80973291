package memory

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// errAway is what calls return during an outage.
var errAway = errors.New("the broker is away, since a test called Outage: try again when it is back")

// Crash makes a consumer die without a word, as if its process were killed: it settles nothing and receives nothing any
// more (both return ErrClosed), its leases run out after the Lease of its group, and nobody is told. It is meant for tests.
// A subscription of another transport, or one that is closed, is left alone.
func (t *Transport) Crash(sub transport.Subscription) {
	if s, ok := sub.(*subscription); ok {
		s.mute(func() { s.crashed = true })
		s.transport.forget(s)
	}
}

// Stall keeps a consumer from giving signs of life, as if its process were suspended or cut off: it receives nothing, and
// its leases run out after the Lease of its group unless it resumes before. Those lost are told to Lost; the others go on.
// Meanwhile it can settle, which shows what becomes of a settlement that comes too late. It is meant for tests. A
// subscription of another transport, or one that is closed, is left alone; resume may be called more than once.
func (t *Transport) Stall(sub transport.Subscription) (resume func()) {
	s, ok := sub.(*subscription)
	if !ok {
		return func() {}
	}
	s.mute(func() {})
	return sync.OnceFunc(s.unmute)
}

// Expire ends the lease of one delivery now, as if it could not be renewed in time while the others were: another consumer may
// get the message, and Lost is told. It is meant for tests. A delivery that is settled or lost already, a subscription of another
// transport, and one that is closed, are left alone.
func (t *Transport) Expire(sub transport.Subscription, d *transport.Delivery) {
	s, ok := sub.(*subscription)
	if !ok || !s.lose(d.Receipt) || s.conf.Lost == nil {
		return
	}
	s.filling.Lock() // until it is whole
	defer s.filling.Unlock()
	s.conf.Lost(d)
}

// lose gives one delivery back as lost, and reports whether it was held.
func (s *subscription) lose(receipt string) bool {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	l, _ := s.leases.find(receipt)
	if s.closed || s.crashed || l == nil || l.lost {
		return false
	}
	l.lost = true
	l.item.redelivered++
	g.giveBack(l.item)
	g.wakeOne()
	return true
}

// Outage makes the broker unreachable for all its transports until heal is called: calls fail, consumers that hold
// deliveries are warned, and their leases run out. What was stored stays, and what is delayed becomes due meanwhile. It is
// meant for tests. heal may be called more than once; during an outage Outage does nothing more.
func (t *Transport) Outage() (heal func()) {
	b := t.broker
	if b.away.Swap(true) {
		return func() {}
	}
	cut := b.subscriptions()
	for _, s := range cut {
		if s.mute(func() {}) && s.conf.Warn != nil {
			s.conf.Warn(fmt.Errorf("memory: leases of %s on %s cannot be renewed: %w", s.group.name, s.group.topic.name, errAway))
		}
	}
	return sync.OnceFunc(func() {
		b.away.Store(false)
		for _, s := range cut {
			s.unmute()
		}
	})
}

func (b *broker) subscriptions() (all []*subscription) {
	b.topics.Range(func(_, t any) bool {
		for _, g := range t.(*topic).members() {
			g.mu.Lock()
			for s := range g.subs {
				all = append(all, s)
			}
			g.mu.Unlock()
		}
		return true
	})
	return all
}

// mute ends a consumer's signs of life, one time more, and reports whether it holds anything.
func (s *subscription) mute(how func()) (holds bool) {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.closed || s.crashed {
		return false
	}
	how()
	s.muted++
	g.watchConsumers()
	g.leaveIdle(s)
	s.rouse()
	s.alarm.set(time.Now().Add(s.conf.LeaseOrDefault()))
	g.wakeOne()
	return len(s.leases.held()) > 0
}

// unmute undoes one mute.
func (s *subscription) unmute() {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if s.closed || s.crashed {
		return
	}
	if s.muted--; s.muted == 0 {
		s.alarm.clear()
		s.group.watchConsumers()
		s.rouse()
		s.group.watchLetters()
	}
}
