package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

var (
	_ transport.Subscription = (*subscription)(nil)
	_ transport.Pulse        = (*subscription)(nil)
)

// A subscription is one consumer of a group. The group's lock guards what changes.
//
// Leases need no renewal here: they last until the subscription closes. Only [Transport.Crash] and [Transport.Stall] end them.
type subscription struct {
	transport *Transport
	group     *group
	conf      transport.Group
	name      string
	awake     chan struct{} // holds a token when there may be something to receive

	leases    leases
	closed    bool
	crashed   bool
	muted     int   // reasons why it gives no sign of life; see simulate.go
	alarm     alarm // ends the leases of one that is muted
	receiving bool
	answered  time.Time

	filling sync.Mutex // held while deliveries are filled, without the group's lock; taken before it
	batch   batch
}

// Receive takes what is there, or waits for it.
func (s *subscription) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for { // ctx is not looked at again after a wake-up, which must be used or passed on
		got, err := s.take(max(limit, 1))
		if err != nil {
			return nil, fmt.Errorf("memory: receive from %s: %w", s.group.topic.name, err)
		}
		if len(got) > 0 {
			return got, nil
		}
		select {
		case <-s.awake:
		case <-ctx.Done():
			s.giveUp()
			return nil, ctx.Err()
		}
	}
}

// take leases what is there, or else notes that this consumer waits.
func (s *subscription) take(limit int) ([]*transport.Delivery, error) {
	ds, lost, err := s.takeAndFill(limit)
	if lost != nil && s.conf.Warn != nil {
		s.conf.Warn(lost) // under no lock: it is the user's
	}
	return ds, err
}

func (s *subscription) takeAndFill(limit int) ([]*transport.Delivery, *transport.LossError, error) {
	s.filling.Lock()
	defer s.filling.Unlock()
	s.group.mu.Lock()
	got, lost, err := s.takeOrWait(limit)
	s.group.mu.Unlock()
	if got == nil {
		return nil, lost, err
	}
	return got.fill(), lost, nil
}

func (s *subscription) takeOrWait(limit int) (got *batch, lost *transport.LossError, err error) {
	g := s.group
	if s.closed || s.crashed {
		return nil, nil, transport.ErrClosed
	}
	if s.transport.broker.away.Load() {
		return nil, nil, errAway
	}
	s.receiving = true
	if s.muted > 0 {
		return nil, nil, nil
	}
	s.answered = time.Now()
	if g.ready() == 0 {
		g.joinIdle(s)
		if g.ready() == 0 { // a publisher that came after the first look sees that this consumer waits
			return nil, nil, nil
		}
		g.leaveIdle(s)
	}
	got = s.batch.begin(min(limit, g.ready()))
	lost = g.take(got)
	if len(got.deliveries) == 0 { // all of it was trimmed
		got, _, err = s.takeOrWait(limit)
		return got, lost, err
	}
	s.receiving = false
	g.wakeOne()
	return got, lost, nil
}

// giveUp stops waiting. A wake-up that has come meanwhile is passed on.
func (s *subscription) giveUp() {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	s.receiving = false
	if !g.leaveIdle(s) {
		select {
		case <-s.awake:
		default:
		}
		g.wakeOne()
	}
}

// rouse ends a wait.
func (s *subscription) rouse() {
	select {
	case s.awake <- struct{}{}:
	default:
	}
}

// LastRoundTrip is now while Receive waits, since nothing lies between it and the broker, and else when it last returned.
func (s *subscription) LastRoundTrip() time.Time {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if s.receiving && s.alive() {
		return time.Now()
	}
	return s.answered
}

// Close gives back what was received and not settled. It does not wait, and fails only during a simulated outage.
// Afterwards Settle returns ErrClosed.
func (s *subscription) Close(context.Context) error {
	s.transport.forget(s)
	if err := s.close(); err != nil {
		return fmt.Errorf("memory: close %s on %s: %w", s.group.name, s.group.topic.name, err)
	}
	return nil
}

func (s *subscription) close() error {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.closed || s.crashed {
		return nil
	}
	if s.transport.broker.away.Load() { // the broker cannot be told: its leases run out, as after a crash
		s.crashed = true
		g.watchConsumers()
		s.rouse()
		return errAway
	}
	s.closed = true
	g.leaveIdle(s)
	s.rouse()
	s.alarm.turnOff()
	delete(g.subs, s)
	g.watchConsumers()
	for _, l := range s.leases.held() {
		g.giveBack(l.item)
	}
	s.leases = leases{}
	g.wakeOne()
	return nil
}

// alive says whether it gives signs of life.
func (s *subscription) alive() bool { return !s.closed && !s.crashed && s.muted == 0 }

// expire ends the leases of a consumer that gives no sign of life.
func (s *subscription) expire() {
	g := s.group
	g.mu.Lock()
	s.alarm.clear()
	if s.closed || s.muted == 0 {
		g.mu.Unlock()
		return
	}
	held := s.leases.loseAll()
	for _, l := range held {
		l.item.redelivered++
		g.giveBack(l.item)
	}
	g.wakeOne()
	tell := s.conf.Lost
	if s.crashed {
		tell = nil
		delete(g.subs, s)
	}
	g.mu.Unlock()
	if tell == nil {
		return
	}
	s.filling.Lock() // until they are whole
	defer s.filling.Unlock()
	for _, l := range held {
		tell(l.delivery)
	}
}
