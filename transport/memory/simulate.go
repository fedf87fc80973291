package memory

import (
	"time"

	"github.com/typedbus/typedbus/transport"
)

// Crash makes a consumer die without a word, as if its process were killed: it settles nothing and receives nothing any
// more (both return ErrClosed), its leases run out after the Lease of its group, and nobody is told. It is meant for tests.
// A subscription of another transport, or one that is closed, is left alone.
func (t *Transport) Crash(sub transport.Subscription) {
	s, ok := sub.(*subscription)
	if !ok {
		return
	}
	s.silence(func() {
		s.crashed = true
		s.group.leaveIdle(s)
		s.rouse()
	})
	s.transport.forget(s)
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
	s.silence(func() {
		s.stalled = true
		s.group.leaveIdle(s)
	})
	return s.resume
}

func (s *subscription) silence(how func()) {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if s.closed || s.crashed {
		return
	}
	how()
	s.alarm.set(time.Now().Add(s.conf.LeaseOrDefault()))
	s.group.wakeOne()
}

func (s *subscription) resume() {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if s.closed || s.crashed || !s.stalled {
		return
	}
	s.stalled = false
	s.alarm.clear()
	s.rouse()
}
