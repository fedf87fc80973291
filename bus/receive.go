package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// intake is what was received and is not begun. The subscription's lock guards it.
type intake struct {
	queue []*task
	held  int           // received and not settled
	room  chan struct{} // says that there may be room now

	interrupt context.CancelFunc // ends the Receive under way; nil if there is none
	since     time.Time          // when the Receive under way began; zero if there is none
	lost      []string           // receipts that were lost meanwhile
	failing   error              // why the latest Receive failed; nil if it did not
}

// receive is the goroutine that asks the transport for deliveries, as many as there is room for.
func (s *subscription) receive(r *run) {
	t := trouble{what: "cannot receive", log: s.log}
	for {
		ctx, limit := s.awaitRoom()
		if limit == 0 {
			return
		}
		ds, err := s.sub.Receive(ctx, limit)
		if ctx.Err() != nil {
			s.accept(ds, nil) // paused or drained, no matter what Receive says
			continue
		}
		s.accept(ds, err)
		runtime.Gosched() // what came is handled first, and the next read brings more
		switch {
		case err == nil:
			t.over()
		case errors.Is(err, ErrClosed):
			s.bus.fail(r, fmt.Errorf("bus: receive %s: %w: close the transport after Run has returned", s.name(), err))
			return
		case !t.wait(s.receiving, s.draining, err):
			return
		}
	}
}

// awaitRoom waits until something may be received, and returns how much; 0 when the drain has begun. The context ends with
// the drain, and when the subscription is paused.
func (s *subscription) awaitRoom() (context.Context, int) {
	for {
		s.mu.Lock()
		limit, wait := s.room(time.Now())
		ctx := s.receiving
		if limit > 0 && ctx.Err() == nil {
			ctx, s.intake.interrupt = context.WithCancel(ctx)
			s.intake.since = time.Now()
			s.mu.Unlock()
			return ctx, limit
		}
		s.mu.Unlock()
		if !s.waitForRoom(wait) {
			return nil, 0
		}
	}
}

func (s *subscription) waitForRoom(wait time.Duration) bool {
	var resume <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		resume = t.C
	}
	select {
	case <-s.intake.room:
	case <-resume:
	case <-s.receiving.Done():
		return false
	}
	return true
}

// room is how many deliveries may be asked for, or how long to wait until some may.
func (s *subscription) room(now time.Time) (limit int, wait time.Duration) {
	if stopped, wait := s.pause.at(now); stopped {
		return 0, wait
	}
	switch {
	case s.slots.stuck >= s.opts.concurrency, s.pause.probe != nil:
		return 0, 0
	case s.pause.probing:
		return 1, 0
	}
	capacity := s.capacity()
	free := capacity - s.intake.held - s.outbox.hooking // hooks that are slow hold up what comes, or there would be no end of them
	idle := s.opts.concurrency - s.slots.taken - len(s.intake.queue)
	// With every slot busy wait for a good part of the capacity: few large reads cost less than many small ones.
	if free <= 0 || idle <= 0 && free < (capacity+3)/4 {
		return 0, 0
	}
	return free, 0
}

const maxCapacity = 1000

// capacity is how much may be held: about a second of work, so that fast handlers get large reads and slow ones do not
// hoard what another consumer could do. Where batches collect there is
// room for a further one beside those that are handled.
func (s *subscription) capacity() int {
	batches := (s.slots.taken + 2) * s.slots.batch // those being handled, one that collects, and the next
	if s.opts.prefetch >= 0 {
		return max(s.opts.concurrency+s.opts.prefetch, batches)
	}
	second := s.opts.concurrency
	if d := s.tally.handlerTime; d > 0 {
		second = int(min(maxCapacity, float64(s.opts.concurrency)*float64(time.Second)/float64(d)))
	}
	return max(second, s.opts.concurrency, batches)
}

// accept queues deliveries, or gives them back if the subscription was paused or drained meanwhile.
func (s *subscription) accept(ds []*transport.Delivery, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intake.interrupt()
	s.intake.interrupt, s.intake.since, s.intake.failing = nil, time.Time{}, err
	s.enqueue(ds)
	s.intake.lost = nil
	stopped, _ := s.pause.at(time.Now())
	switch {
	case stopped, s.receiving.Err() != nil, s.slots.stuck >= s.opts.concurrency:
		s.releaseQueue()
	case s.pause.probing && len(s.intake.queue) > 0:
		s.pause.probe = s.intake.queue[0]
		rest := s.intake.queue[1:]
		s.intake.queue = s.intake.queue[:1:1]
		s.release(rest)
	}
	s.startWorkers()
}

// taskChunk is how many tasks share an allocation, and so how many bodies a slow handler keeps in memory.
const taskChunk = 16

func (s *subscription) enqueue(ds []*transport.Delivery) {
	for chunk := range slices.Chunk(ds, taskChunk) {
		tasks, ctxs := make([]task, len(chunk)), make([]handlerContext, len(chunk)) // a context that is kept does not keep the bodies
		for i, d := range chunk {
			t := &tasks[i]
			t.Delivery = Delivery{Delivery: d, stage: &t.stage, task: t}
			t.stage.sender = s.bus.stage
			t.s, t.ctx = s, &ctxs[i]
			t.ctx.Context = s.handling
			t.lost = slices.Contains(s.intake.lost, d.Receipt)
			s.intake.queue = append(s.intake.queue, t)
		}
	}
	s.intake.held += len(ds)
}

// releaseQueue gives what was not begun to the group's other consumers.
func (s *subscription) releaseQueue() {
	s.release(s.intake.queue)
	s.intake.queue = nil
}

func (s *subscription) release(ts []*task) {
	for _, t := range ts {
		s.probeEnded(t)
		if t.lost {
			s.intake.held--
			continue
		}
		s.outbox.add(transport.Settlement{Delivery: t.Delivery.Delivery, Verdict: transport.Deferred})
	}
}

// pause is whether the subscription may receive.
type pause struct {
	byHand  bool
	until   time.Time // a handler returned Pause
	probing bool      // since until: one event at a time, until one ends without Pause
	probe   *task     // that one; nil if there is none at the moment
}

// probeEnded makes room for another probe, if t was one.
func (s *subscription) probeEnded(t *task) (was bool) {
	if s.pause.probe != t {
		return false
	}
	s.pause.probe = nil
	signal(s.intake.room)
	return true
}

// at tells whether receiving is stopped, and for how long if that is known.
func (p *pause) at(now time.Time) (stopped bool, wait time.Duration) {
	if p.byHand {
		return true, 0
	}
	wait = p.until.Sub(now)
	return wait > 0, max(wait, 0)
}

// setPaused is Pause and Resume.
func (s *subscription) setPaused(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause.byHand = paused
	if paused {
		s.stopReceiving()
	} else {
		s.pause.until = time.Time{} // one event tries whether the handler agrees
	}
	signal(s.intake.room)
}

// pauseFor is what a handler's Pause does. It returns false if the subscription was paused already.
func (s *subscription) pauseFor(d time.Duration) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	paused, _ := s.pause.at(now)
	if until := now.Add(d); until.After(s.pause.until) {
		s.pause.until = until
	}
	s.pause.probing = true
	s.stopReceiving()
	signal(s.intake.room)
	return !paused
}

func (s *subscription) stopReceiving() {
	if s.intake.interrupt != nil {
		s.intake.interrupt()
	}
	s.releaseQueue()
}
