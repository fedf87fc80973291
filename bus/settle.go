package bus

import (
	"errors"

	"github.com/typedbus/typedbus/transport"
)

// settlements are outcomes on their way to the transport. The subscription's lock guards them.
type settlements struct {
	todo  []transport.Settlement
	spare []transport.Settlement // the other buffer, to be used again
	doing int                    // being settled
	ready chan struct{}          // says that there is something to do
}

func (o *settlements) add(st transport.Settlement) {
	o.todo = append(o.todo, st)
	signal(o.ready)
}

// settle is the goroutine that ends deliveries. While one call is under way the next outcomes collect, so that there are
// large calls under load and none waits for a timer.
func (s *subscription) settle() {
	t := trouble{what: "cannot settle", log: s.log}
	for {
		select {
		case <-s.outbox.ready:
		case <-s.settling.Done():
			return
		}
		for batch := s.takeSettlements(); len(batch) > 0; batch = s.takeSettlements() {
			err := s.sub.Settle(s.settling, batch)
			if again := s.settled(batch, err); again == nil {
				t.over()
			} else if !t.wait(s.settling, nil, again) {
				return
			}
		}
	}
}

func (s *subscription) takeSettlements() []transport.Settlement {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := s.outbox.todo
	s.outbox.todo = s.outbox.spare[:0]
	s.outbox.spare = nil
	s.outbox.doing = len(batch)
	return batch
}

// settled counts what is ended and puts the rest back. It returns an error if something was put back.
func (s *subscription) settled(batch []transport.Settlement, err error) (again error) {
	if err != nil {
		s.logRefused(batch, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		switch e := settleErrorAt(err, i); {
		case e == nil:
			s.intake.held--
			s.tally.settled(batch[i].Verdict)
		case errors.Is(e, ErrLeaseLost), errors.Is(e, ErrClosed):
			s.intake.held--
		default:
			s.outbox.todo = append(s.outbox.todo, batch[i])
			again = e
		}
	}
	clear(batch) // it must not keep what it pointed to alive
	s.outbox.spare, s.outbox.doing = batch, 0
	signal(s.intake.room)
	signal(s.slots.changed)
	return again
}

func (s *subscription) logRefused(batch []transport.Settlement, err error) {
	for i := range batch {
		if errors.Is(settleErrorAt(err, i), ErrLeaseLost) {
			s.log.Warn("outcome refused, lease lost: another consumer has the event",
				"id", batch[i].ID, "attempt", batch[i].Attempt, "verdict", batch[i].Verdict)
		}
	}
}

func settleErrorAt(err error, i int) error {
	var each *transport.SettleError
	if errors.As(err, &each) && i < len(each.Errs) {
		return each.Errs[i]
	}
	return err
}
