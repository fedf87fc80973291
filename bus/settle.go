package bus

import (
	"errors"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// settlements are outcomes on their way to the transport. The subscription's lock guards them.
type settlements struct {
	todo  []transport.Settlement
	spare []transport.Settlement // the other buffer, to be used again
	doing int                    // being settled
	later []transport.Settlement // not ended while others were, to be tried again when the timer says so
	timer *time.Timer

	failing error         // why the latest call ended nothing; nil if it ended something
	ready   chan struct{} // says that there is something to do

	hooks   map[*transport.Delivery][]settledHook // of what is handled and not ended; nil until there is one
	hooking int                                   // being called
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
			if away := s.settled(batch, err); away == nil {
				t.over()
			} else if !t.wait(s.settling, nil, away) {
				return
			}
		}
	}
}

func (s *subscription) takeSettlements() []transport.Settlement {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := s.outbox.todo
	if len(batch) > 0 {
		s.outbox.todo, s.outbox.spare = s.outbox.spare[:0], nil
	}
	s.outbox.doing = len(batch)
	return batch
}

// settled counts what is ended and keeps the rest. It returns an error if nothing was ended, so that trying on would be in vain.
func (s *subscription) settled(batch []transport.Settlement, err error) (away error) {
	if err != nil {
		s.logRefused(batch, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var again []transport.Settlement
	ended := false
	for i := range batch {
		switch e := settleErrorAt(err, i); {
		case e == nil:
			ended = true
			s.intake.held--
			s.tally.settled(batch[i].Verdict)
			s.tellHooks(batch[i].Delivery, batch[i].Verdict, nil)
		case errors.Is(e, ErrLeaseLost), errors.Is(e, ErrClosed):
			ended = true
			s.intake.held--
			s.tellHooks(batch[i].Delivery, batch[i].Verdict, e)
		case errors.Is(e, transport.ErrRefused) && (batch[i].Verdict == transport.Done || batch[i].Verdict == transport.Dead):
			ended = true
			s.outbox.add(transport.Settlement{Delivery: batch[i].Delivery, Verdict: transport.Failed, After: s.opts.backoff.After(batch[i].Attempt)})
		default:
			again, away = append(again, batch[i]), e
		}
	}
	if ended {
		away = nil
	}
	s.outbox.failing = away
	s.tryAgain(again, ended)
	clear(batch) // it must not keep what it pointed to alive
	s.outbox.spare, s.outbox.doing = batch, 0
	signal(s.intake.room)
	signal(s.slots.changed)
	return away
}

// settleAgainAfter is how long settlements wait that were not taken while others were.
const settleAgainAfter = time.Second

// tryAgain keeps what is not ended. If others were, it waits apart from those that come, so as not to hold them up.
func (s *subscription) tryAgain(again []transport.Settlement, apart bool) {
	switch {
	case len(again) == 0:
	case !apart:
		s.outbox.todo = append(s.outbox.todo, again...)
	case len(s.outbox.later) > 0: // the timer runs
		s.outbox.later = append(s.outbox.later, again...)
	default:
		s.outbox.later = again
		s.outbox.timer = time.AfterFunc(settleAgainAfter, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.outbox.todo = append(s.outbox.todo, s.outbox.later...)
			s.outbox.later = nil
			signal(s.outbox.ready)
		})
	}
}

// logRefused says what no other try will change.
func (s *subscription) logRefused(batch []transport.Settlement, err error) {
	for i := range batch {
		e := settleErrorAt(err, i)
		log := s.log.With("id", batch[i].ID, "attempt", batch[i].Attempt, "verdict", batch[i].Verdict)
		switch {
		case errors.Is(e, ErrLeaseLost):
			s.lateLine.warn(s.log, log)
		case errors.Is(e, transport.ErrRefused):
			log.Error("outcome refused, event will be delivered again", "error", e)
		}
	}
}

func settleErrorAt(err error, i int) error {
	if err == nil {
		return nil
	}
	var each *transport.SettleError
	if errors.As(err, &each) && i < len(each.Errs) {
		return each.Errs[i]
	}
	return err
}
