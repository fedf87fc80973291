package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Batched makes a handler of one event out of a handler of many: events wait until size of them have come, or until the first
// has waited for wait, and are handled together. Middleware still sees each event by itself.
//
// Waiting events take no slot of [Concurrency], which bounds how many batches are handled at the same time. What h returns is
// the outcome of every event of the batch, unless it is a [BatchErrors], which tells them apart. The context of h has the
// values of the first event's, and ends when that of any event ends. Waiting does not count for [MaxProcessing]. It does count for
// the deadline of a context that middleware made, as middleware.Timeout does: no more than half of what the first event has left
// goes into waiting. A drain does not wait for a batch to fill. Size is at least 1; a wait of 0 takes what is there.
func Batched[T any](size int, wait time.Duration, h func(context.Context, []*Event[T]) error) HandlerOf[T] {
	if h == nil {
		return nil // reported by Run
	}
	b := &batcher[T]{size: max(size, 1), wait: wait, handler: h, open: make(map[*subscription]*batch[T])}
	return b.handle
}

// BatchErrors is what a [Batched] handler returns to tell its events apart: one error for each event, in their order, nil for
// those that are handled.
type BatchErrors []error

func (e BatchErrors) Error() string {
	failed := e.Unwrap()
	if len(failed) == 0 {
		return "no event of the batch failed"
	}
	return fmt.Sprintf("%d of %d events of the batch failed: %v", len(failed), len(e), failed[0])
}

// Unwrap returns the errors that are not nil.
func (e BatchErrors) Unwrap() []error {
	return slices.DeleteFunc(slices.Clone(e), func(err error) bool { return err == nil })
}

// batcher collects events, apart for each subscription that uses the handler.
type batcher[T any] struct {
	size    int
	wait    time.Duration
	handler func(context.Context, []*Event[T]) error

	mu   sync.Mutex
	open map[*subscription]*batch[T] // collecting
}

// batch is led by its first event, whose goroutine waits for the others and handles all; theirs wait for it.
type batch[T any] struct {
	events []*Event[T]
	ctxs   []context.Context
	full   chan struct{}
	done   chan struct{}
	errs   []error // by event; written before done is closed
}

func (b *batcher[T]) handle(ctx context.Context, e *Event[T]) error {
	e.task.park(b.size)
	bt, i := b.join(ctx, e)
	if i > 0 {
		<-bt.done
		return bt.errs[i]
	}
	b.collect(ctx, e, bt)
	e.task.unpark()
	bt.run(ctx, b.handler)
	return bt.errs[0]
}

// join adds an event to the batch that collects, and returns its place there.
func (b *batcher[T]) join(ctx context.Context, e *Event[T]) (*batch[T], int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := e.task.subscription()
	bt := b.open[s]
	if bt == nil {
		bt = &batch[T]{full: make(chan struct{}), done: make(chan struct{})}
		b.open[s] = bt
	}
	bt.events, bt.ctxs = append(bt.events, e), append(bt.ctxs, ctx)
	if len(bt.events) == b.size {
		delete(b.open, s)
		close(bt.full)
	}
	return bt, len(bt.events) - 1
}

// collect waits until the batch is full or has waited long enough, and closes it to others.
func (b *batcher[T]) collect(ctx context.Context, e *Event[T], bt *batch[T]) {
	timer := time.NewTimer(b.patience(ctx))
	defer timer.Stop()
	s := e.task.subscription()
	select {
	case <-bt.full:
		return
	case <-timer.C:
	case <-ctx.Done():
	case <-s.drainBegan():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open[s] == bt {
		delete(b.open, s)
	}
}

// patience is how long to wait for others: half of the time that middleware has set is for the handler.
func (b *batcher[T]) patience(ctx context.Context) time.Duration {
	if at, limited := ctx.Deadline(); limited {
		return min(b.wait, time.Until(at)/2)
	}
	return b.wait
}

// run handles the batch, and sets everybody's outcome even if the handler panics. What was lost, or cut by the drain, while the
// batch collected is not handled.
func (bt *batch[T]) run(ctx context.Context, h func(context.Context, []*Event[T]) error) {
	bt.errs = make([]error, len(bt.events))
	defer close(bt.done)
	var live []int
	for i, c := range bt.ctxs {
		if bt.errs[i] = bt.events[i].task.cause(c); bt.errs[i] == nil {
			live = append(live, i)
		}
	}
	if len(live) == 0 {
		return
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	events := make([]*Event[T], len(live))
	for n, i := range live {
		events[n] = bt.events[i]
		events[n].task.beginInBatch()
		c := bt.ctxs[i]
		stop := context.AfterFunc(c, func() { cancel(context.Cause(c)) })
		defer stop()
	}
	err := errors.New("bus: the batch's handler panicked or ended its goroutine")
	defer func() { bt.setOutcomes(live, context.Cause(ctx), err) }()
	err = h(ctx, events)
}

func (bt *batch[T]) setOutcomes(live []int, cause, err error) {
	var each BatchErrors
	apart := errors.As(err, &each)
	if apart && len(each) != len(live) {
		apart, err = false, fmt.Errorf("bus: BatchErrors has %d errors for %d events: return one for each: %w", len(each), len(live), err)
	}
	for n, i := range live {
		own := err
		if apart {
			own = each[n]
		}
		// Where the batch was cut short because another event of it was lost, that is not this one's fault.
		innocent := errors.Is(cause, ErrLeaseLost) && bt.ctxs[i].Err() == nil
		if own != nil && innocent && (!apart || errors.Is(own, context.Canceled)) {
			own = Snooze(0, fmt.Errorf("bus: batch cut short: %v", own))
		}
		bt.errs[i] = own
	}
}

// subscription is where a task is handled; nil for a delivery that no bus handles, as in a test of the handler.
func (t *task) subscription() *subscription {
	if t == nil {
		return nil
	}
	return t.s
}

// park gives the task's slot away while it waits in a batch of up to size. Waiting is not processing.
func (t *task) park(size int) {
	if t == nil {
		return
	}
	t.limited()
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots.batch = max(s.slots.batch, size)
	if t.parked {
		return // a retry around the batch: it has given its slot away already
	}
	t.parked = true
	s.leaveSlot()
	s.startWorkers()
}

// unpark waits for a slot, until the drain cuts the handlers: a batch that waits so long is not begun.
func (t *task) unpark() {
	if t == nil {
		return
	}
	s := t.s
	s.mu.Lock()
	if s.slots.taken < s.opts.concurrency {
		t.parked = false
		s.slots.taken++
		s.mu.Unlock()
		return
	}
	turn := make(chan struct{})
	s.slots.waiting = append(s.slots.waiting, turn)
	s.mu.Unlock()
	select {
	case <-turn:
	case <-s.handling.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.slots.waiting, turn); i >= 0 {
		s.slots.waiting = slices.Delete(s.slots.waiting, i, i+1) // no slot, and still parked
		return
	}
	t.parked = false
}

// cause is why the handler's context has ended, nil if it has not. The root ends a moment before its children.
func (t *task) cause(ctx context.Context) error {
	if t == nil {
		return context.Cause(ctx)
	}
	return cmp.Or(context.Cause(ctx), context.Cause(t.s.handling))
}

// beginInBatch: the handler begins for a task that was parked until now.
func (t *task) beginInBatch() {
	if t == nil {
		return
	}
	t.limit()
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.began = time.Now()
}

// drainBegan is closed when the drain begins; nil, for ever open, without a bus.
func (s *subscription) drainBegan() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.draining
}
