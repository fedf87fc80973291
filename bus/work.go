package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// A task is one delivery on its way through the engine.
type task struct {
	Delivery // what the handler gets
	stage    stage
	s        *subscription
	ctx      *handlerContext

	// Guarded by the subscription's lock.
	began    time.Time
	parked   bool // waits in a batch and takes no slot
	lost     bool // another consumer has it
	finished bool // its outcome is known
	stuck    bool // given back, and its slot is taken still

	prev, following *task // among those that run

	hooks []settledHook

	limited func() // ends the timers of MaxProcessing; who runs the handler has it
}

// slots are the workers. The subscription's lock guards them.
type slots struct {
	taken    int  // by workers, not counting the parked
	starting bool // a worker has not taken its first task
	waiting  []chan struct{}
	running  tasks         // being handled, the parked too
	batch    int           // the largest batch that collects here
	stuck    int           // taken by handlers that ignore their context
	changed  chan struct{} // tells the drain
}

// tasks is a set of tasks. It spares the map a write and a delete for each.
type tasks struct {
	head *task
	n    int
}

func (l *tasks) add(t *task) {
	t.following = l.head
	if l.head != nil {
		l.head.prev = t
	}
	l.head = t
	l.n++
}

func (l *tasks) remove(t *task) {
	if t.prev != nil {
		t.prev.following = t.following
	} else {
		l.head = t.following
	}
	if t.following != nil {
		t.following.prev = t.prev
	}
	t.prev, t.following = nil, nil
	l.n--
}

func (l *tasks) all(yield func(*task) bool) {
	for t := l.head; t != nil && yield(t); t = t.following {
	}
}

// startWorkers starts a worker if there is work and room for it, unless one is about to begin: that one starts the next. So there
// are as many as handlers that wait, and no more than can run where handlers are fast. A worker ends when the queue is empty, so
// an idle subscription has none. The caller has the lock.
func (s *subscription) startWorkers() {
	if s.slots.starting || len(s.intake.queue) == 0 || s.slots.taken >= s.opts.concurrency {
		return
	}
	s.slots.starting = true
	s.slots.taken++
	s.wg.Go(s.work)
}

// work is the goroutine that handles what is queued.
func (s *subscription) work() {
	for t := s.first(); t != nil; {
		t = s.handle(t)
	}
}

func (s *subscription) first() *task {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots.starting = false
	t := s.next(now)
	s.startWorkers()
	return t
}

// next takes a task from the queue; nil ends the worker. The caller has the lock.
func (s *subscription) next(now time.Time) *task {
	for len(s.slots.waiting) == 0 && len(s.intake.queue) > 0 && s.slots.taken <= s.opts.concurrency {
		t := s.intake.queue[0]
		s.intake.queue[0] = nil
		s.intake.queue = s.intake.queue[1:]
		if t.lost {
			s.intake.held--
			s.probeEnded(t)
			continue
		}
		t.began = now
		s.slots.running.add(t)
		return t
	}
	s.leaveSlot()
	return nil
}

// leaveSlot hands the slot to a batch that waits for one, unless it was one too many, or frees it.
func (s *subscription) leaveSlot() {
	if len(s.slots.waiting) > 0 && s.slots.taken <= s.opts.concurrency {
		close(s.slots.waiting[0])
		s.slots.waiting = s.slots.waiting[1:]
		return
	}
	s.slots.taken--
	signal(s.intake.room)
}

// handle runs the chain for one task, whatever the handler does: return, panic, or end its goroutine. It returns the next task.
func (s *subscription) handle(t *task) (next *task) {
	t.limit()
	err := errGoexit
	defer func() {
		t.limited()
		next = s.finish(t, err)
		t.ctx.handlerReturned()
	}()
	err = s.call(t)
	return nil
}

var errGoexit = errors.New("bus: the handler ended its goroutine (runtime.Goexit, or a FailNow of a test)")

// call turns a panic into an error.
func (s *subscription) call(t *task) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return s.handler(t.ctx, &t.Delivery)
}

// A PanicError is a handler's panic.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("bus: the handler panicked: %v", e.Value) }

// limit enforces MaxProcessing from now on, until limited is called.
func (t *task) limit() {
	s := t.s
	d := s.opts.maxProcessing
	if d == 0 {
		t.limited = func() {}
		return
	}
	lease := transport.Group{Lease: s.opts.lease}.LeaseOrDefault()
	first := time.AfterFunc(d, func() { t.ctx.end(fmt.Errorf("bus: MaxProcessing of %v is over: %w", d, context.DeadlineExceeded)) })
	second := time.AfterFunc(d+lease, func() { s.abandon(t) })
	t.limited = func() { first.Stop(); second.Stop() }
}

// abandon gives an event back whose handler ignores that its time is over.
func (s *subscription) abandon(t *task) {
	s.mu.Lock()
	if t.finished || t.lost {
		s.mu.Unlock()
		return
	}
	t.finished = true
	t.stage.close()
	s.keepHooks(t)
	s.outbox.add(transport.Settlement{Delivery: t.Delivery.Delivery, Verdict: transport.Failed, After: s.opts.backoff.After(t.Attempt)})
	s.probeEnded(t)
	if !t.parked { // of a batch its first event has the slot
		t.stuck = true
		if s.slots.stuck++; s.slots.stuck >= s.opts.concurrency {
			s.stopReceiving() // nobody is left to handle it
		}
	}
	s.mu.Unlock()
	s.log.Error("handler ignores its context, event given back; its slot stays taken until it returns",
		"id", t.ID, "attempt", t.Attempt, "running", time.Since(t.began).Round(time.Millisecond))
}

// finish turns what the handler returned into a settlement, and takes the next task for the worker.
func (s *subscription) finish(t *task, err error) (next *task) {
	staged := t.stage.close()
	o := s.outcome(t, t.cause(t.ctx), err)
	if o.Verdict == transport.Done {
		o.Stage = staged
	}
	now := time.Now() // one ends when the next begins
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended(t, o, now)
	if err == errGoexit { // the goroutine is ending, and the worker with it
		s.leaveSlot()
		s.startWorkers()
		return nil
	}
	return s.next(now)
}

// ended takes a task out, and its outcome to the outbox. The caller has the lock.
func (s *subscription) ended(t *task, o outcome, now time.Time) {
	s.slots.running.remove(t)
	signal(s.slots.changed)
	s.tally.handled(t, now)
	if t.parked {
		// It gave its slot away; it takes one again, one too many for the moment, and next gives it back.
		t.parked = false
		s.slots.taken++
	}
	if t.finished { // abandoned
		if t.stuck {
			s.slots.stuck--
		}
		return
	}
	t.finished = true
	s.keepHooks(t)
	probe := s.probeEnded(t)
	if t.lost && o.Verdict != transport.Done {
		s.intake.held--
		s.tellHooks(t.Delivery.Delivery, o.Verdict, ErrLeaseLost)
		return
	}
	s.outbox.add(o.Settlement)
	if probe && !o.paused {
		s.pause.probing = false
	}
}

// outcome is a settlement, and whether it came with a Pause.
type outcome struct {
	transport.Settlement
	paused bool
}

// outcome translates a return value, and logs what is no plain success.
func (s *subscription) outcome(t *task, cause, err error) outcome {
	o := outcome{Settlement: transport.Settlement{Delivery: t.Delivery.Delivery, Verdict: transport.Done}}
	if err == nil {
		return o
	}
	v := VerdictOf(err)
	log := s.log.With("id", t.ID, "attempt", t.Attempt, "error", err)
	switch {
	case cause == ErrLeaseLost:
		o.Verdict = transport.Failed // not settled: another consumer has it
		s.lostLine.warn(s.log, log)
	case v.Kind == Failed && cause == ErrDraining:
		o.Verdict = transport.Deferred
		log.Info("handler cut short by the drain, event given back")
	case v.Kind == Failed:
		o.Verdict, o.After = transport.Failed, s.opts.backoff.After(t.Attempt)
		s.logFailure(err, log.With("after", o.After))
	case v.Kind == Snoozed:
		o.Verdict, o.After = transport.Deferred, max(v.After, 0)
		log.Debug("event snoozed")
	case v.Kind == Paused:
		o.Verdict, o.paused = transport.Deferred, true
		if s.pauseFor(max(v.After, time.Millisecond)) {
			log.Warn("subscription paused by its handler", "for", v.After)
		}
	case v.Kind == PermanentlyFailed:
		o.Verdict, o.After = transport.Failed, s.opts.backoff.resolved().Max
		log.Error("permanent failure and no dead-letter route: event kept, to be tried again", "after", o.After)
	case v.Kind == DeadLettered:
		o.Verdict, o.Reason, o.Error = transport.Dead, v.Reason, errorText(v.Err)
		log.Warn("event moved to the dead letters", "reason", v.Reason)
	}
	return o
}

func (s *subscription) logFailure(err error, log *slog.Logger) {
	var p *PanicError
	if errors.As(err, &p) {
		log.Error("handler panicked, event will be delivered again", "stack", string(p.Stack))
		return
	}
	log.Warn("handler failed, event will be delivered again")
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
