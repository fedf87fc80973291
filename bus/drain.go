package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// afterGrace bounds what follows the grace: handlers that were cut short return, the last outcomes are settled, the group is left.
const afterGrace = 5 * time.Second

// drain stops receiving, gives back what was not begun, waits for the handlers, and leaves the group.
func (s *subscription) drain(ctx context.Context, grace time.Duration) error {
	if ctx.Value(handledBy{}) == s {
		return fmt.Errorf("bus: stop %s: its own handler cannot wait for itself: call Stop in a goroutine", s.name())
	}
	if !s.beginDrain() {
		select {
		case <-s.closed:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("bus: stop %s: %w", s.name(), ctx.Err())
		}
	}
	defer close(s.closed)
	s.opening.Wait()
	if !s.isOpen() {
		return nil
	}
	s.stop()
	s.mu.Lock()
	s.stopReceiving()
	s.mu.Unlock()
	s.awaitReceiver()
	s.await(ctx, grace, s.noHandlers)
	s.cut(ErrDraining)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterGrace)
	defer cancel()
	s.await(end, afterGrace, func() bool { return s.noHandlers() && s.nothingToSettle() })
	hung := s.hungHandlers()
	s.stopSettling()
	leave, cancelLeave := context.WithTimeout(context.WithoutCancel(ctx), afterGrace)
	defer cancelLeave()
	closeErr := s.sub.Close(leave)
	s.await(leave, afterGrace, s.noHooks)
	if len(hung) == 0 {
		s.wg.Wait()
	}
	s.lostLine.flush(s.log)
	s.lateLine.flush(s.log)
	return s.drainError(hung, grace, closeErr)
}

// awaitReceiver waits until the receive loop has ended, and what it still brought was given back.
func (s *subscription) awaitReceiver() {
	timer := time.NewTimer(afterGrace)
	defer timer.Stop()
	select {
	case <-s.received:
	case <-timer.C:
	}
}

func (s *subscription) beginDrain() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isDraining() {
		return false
	}
	close(s.draining)
	if s.stopOpening != nil {
		s.stopOpening()
	}
	return true
}

func (s *subscription) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sub != nil
}

// await waits until ok, for at most d or until ctx ends.
func (s *subscription) await(ctx context.Context, d time.Duration, ok func() bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for !ok() {
		select {
		case <-s.slots.changed:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (s *subscription) noHandlers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slots.running.n == 0
}

func (s *subscription) nothingToSettle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.outbox.todo) == 0 && s.outbox.doing == 0 && len(s.outbox.later) == 0 && s.outbox.hooking == 0
}

func (s *subscription) stopSettling() {
	s.giveUp()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outbox.timer != nil {
		s.outbox.timer.Stop()
	}
	for d := range s.outbox.hooks {
		s.tellHooks(d, 0, errDrainEnded)
	}
}

func (s *subscription) hungHandlers() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.slots.running.all {
		ids = append(ids, t.ID)
	}
	return ids
}

func (s *subscription) drainError(hung []string, grace time.Duration, closeErr error) error {
	var errs []error
	if len(hung) > 0 {
		errs = append(errs, fmt.Errorf("bus: drain %s: %d handlers did not return within the grace of %v, their events were given back: %.300s",
			s.name(), len(hung), grace, strings.Join(hung, ", ")))
	}
	if closeErr != nil {
		errs = append(errs, fmt.Errorf("bus: drain %s: what was not settled will be delivered again when its lease has run out: %w", s.name(), closeErr))
	}
	return errors.Join(errs...)
}
