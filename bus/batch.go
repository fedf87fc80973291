package bus

import (
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
// values of the first event's, and ends when that of any event ends. A drain does not wait for a batch to fill. Size is at
// least 1; a wait of 0 takes what is there.
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
	bt, i := b.join(ctx, e)
	e.task.park(b.size)
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
	timer := time.NewTimer(b.wait)
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

// run handles the batch, and sets everybody's outcome even if the handler panics.
func (bt *batch[T]) run(ctx context.Context, h func(context.Context, []*Event[T]) error) {
	bt.errs = make([]error, len(bt.events))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, c := range bt.ctxs[1:] {
		stop := context.AfterFunc(c, func() { cancel(context.Cause(c)) })
		defer stop()
	}
	err := errors.New("bus: the batch's handler panicked or ended its goroutine")
	defer func() {
		bt.setOutcomes(context.Cause(ctx), err)
		close(bt.done)
	}()
	err = h(ctx, bt.events)
}

func (bt *batch[T]) setOutcomes(cause, err error) {
	var each BatchErrors
	apart := errors.As(err, &each)
	if apart && len(each) != len(bt.events) {
		apart, err = false, fmt.Errorf("bus: BatchErrors has %d errors for %d events: return one for each: %w", len(each), len(bt.events), err)
	}
	for i := range bt.errs {
		switch {
		case apart:
			bt.errs[i] = each[i]
		case err != nil && errors.Is(cause, ErrLeaseLost) && bt.ctxs[i].Err() == nil:
			// The batch was cut short because another event of it was lost: not this one's fault.
			bt.errs[i] = Snooze(0, fmt.Errorf("bus: batch cut short: %v", err))
		default:
			bt.errs[i] = err
		}
	}
}

// subscription is where a task is handled; nil for a delivery that no bus handles, as in a test of the handler.
func (t *task) subscription() *subscription {
	if t == nil {
		return nil
	}
	return t.s
}

// park gives the task's slot away while it waits in a batch of up to size.
func (t *task) park(size int) {
	if t == nil {
		return
	}
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	t.parked = true
	s.slots.batch = max(s.slots.batch, size)
	s.leaveSlot()
	s.startWorkers()
}

// unpark waits for a slot.
func (t *task) unpark() {
	if t == nil {
		return
	}
	s := t.s
	s.mu.Lock()
	t.parked = false
	if s.slots.taken < s.opts.concurrency {
		s.slots.taken++
		s.mu.Unlock()
		return
	}
	turn := make(chan struct{})
	s.slots.waiting = append(s.slots.waiting, turn)
	s.mu.Unlock()
	<-turn
}

// drainBegan is closed when the drain begins; nil, for ever open, without a bus.
func (s *subscription) drainBegan() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.draining
}
