package bus

import (
	"context"
	"errors"
	"time"

	"github.com/typedbus/typedbus/transport"
)

type settledHook = func(ctx context.Context, v transport.Verdict, err error)

// OnSettled has f called once, when it is known what became of the delivery: the transport has settled it as v (err is nil),
// or it could not be settled, because the lease was lost, the transport closed, or the drain ended first. f is called in a
// goroutine of its own, with a context that has the values of Run's and ends after 5 seconds; the drain waits for it so long.
// While it runs it counts as held: where many are slow the subscription receives less.
//
// It is for middleware whose own work must follow the acknowledgement. It may be called until the handler returns, and does
// nothing for a delivery that no bus handles.
func (d *Delivery) OnSettled(f func(ctx context.Context, v transport.Verdict, err error)) {
	if d.task == nil {
		return
	}
	s := d.task.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.task.finished { // given back, because the handler ignored its context
		s.tell(f, transport.Failed, ErrLeaseLost)
		return
	}
	d.task.hooks = append(d.task.hooks, f)
}

// keepHooks remembers what is to be called when the delivery of t is settled. The caller has the lock.
func (s *subscription) keepHooks(t *task) {
	if len(t.hooks) == 0 {
		return
	}
	if s.settling.Err() != nil { // the handler has returned after the drain: nobody settles any more
		for _, hook := range t.hooks {
			s.tell(hook, 0, errDrainEnded)
		}
		t.hooks = nil
		return
	}
	if s.outbox.hooks == nil {
		s.outbox.hooks = make(map[*transport.Delivery][]settledHook)
	}
	d := t.Delivery.Delivery
	s.outbox.hooks[d] = append(s.outbox.hooks[d], t.hooks...)
	t.hooks = nil
}

var errDrainEnded = errors.New("bus: the drain ended before the outcome was settled")

// tellHooks calls them, and forgets them. The caller has the lock.
func (s *subscription) tellHooks(d *transport.Delivery, v transport.Verdict, err error) {
	if len(s.outbox.hooks) == 0 {
		return
	}
	for _, hook := range s.outbox.hooks[d] {
		s.tell(hook, v, err)
	}
	delete(s.outbox.hooks, d)
}

func (s *subscription) tell(hook settledHook, v transport.Verdict, err error) {
	s.outbox.hooking++
	go s.callHook(hook, v, err)
}

func (s *subscription) noHooks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outbox.hooking == 0
}

const hookTimeout = 5 * time.Second

func (s *subscription) callHook(hook settledHook, v transport.Verdict, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.handling), hookTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("a hook of OnSettled panicked", "panic", p)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.outbox.hooking--
		signal(s.slots.changed)
		signal(s.intake.room)
	}()
	hook(ctx, v, err)
}
