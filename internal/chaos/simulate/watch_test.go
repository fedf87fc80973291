package simulate_test

import (
	"context"
	"errors"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

// watched is one delivery on its way through the engine. The world's lock guards it.
type watched struct {
	sub *faultySub
	d   *transport.Delivery

	number int // among all of the run

	state     progress
	ctx       context.Context // of the handler
	err       error           // what it returned
	cause     error           // why its context had ended by then
	staged    int
	cutShort  error // why its batch was
	abandoned bool  // settled although its handler runs, because of MaxProcessing

	lost     bool              // the lease, says the broker
	told     time.Time         // since then the engine knows that the lease is lost; zero: it is not
	taken    transport.Verdict // by the broker
	answered bool              // the engine knows that it is settled or lost
	refused  bool

	hooked bool
	hooks  int
}

type progress uint8

const (
	queued progress = iota
	running
	returned
)

func (w *world) watch(s *faultySub, d *transport.Delivery, lost bool) *watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := &watched{sub: s, d: d, number: len(w.all) + 1}
	if lost {
		x.told = time.Now()
	}
	w.deliveries[d] = x
	w.all = append(w.all, x)
	return x
}

// record is the outermost middleware: it writes the history of handlers.
func (p *process) record(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) (err error) {
		x := p.w.started(p, ctx, d.Delivery)
		if p.w.limited || p.w.weather[handlerDeaf] > 0 { // it may end while the handler goes on
			defer context.AfterFunc(ctx, func() { p.w.contextEnded(p, x) })()
		}
		d.OnSettled(func(_ context.Context, v transport.Verdict, err error) { p.w.hookCalled(p, x, v, err) })
		err = errExit
		defer func() {
			if r := recover(); r != nil {
				p.w.handlerReturned(p, x, d.Staged(), errPanic)
				panic(r)
			}
			p.w.handlerReturned(p, x, d.Staged(), err)
		}()
		return next(ctx, d)
	}
}

func (w *world) started(p *process, ctx context.Context, d *transport.Delivery) *watched {
	ended := ctx.Err() != nil
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.deliveries[d]
	if x.state != queued {
		w.note("%s: %s is begun twice", p.name, d.ID)
	}
	if !x.told.IsZero() && !ended {
		w.note("%s: %s is begun although its lease is lost", p.name, d.ID)
	}
	if d.Attempt < 1 || d.Attempt > 1+w.failures[d.ID] {
		w.note("%s: %s comes as attempt %d after %d failures", p.name, d.ID, d.Attempt, w.failures[d.ID])
	}
	x.state, x.ctx, x.hooked = running, ctx, true
	w.happened(p, history.Started, d, "")
	return x
}

func (w *world) contextEnded(p *process, x *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.state == running {
		w.happened(p, history.Ended, x.d, context.Cause(x.ctx).Error())
	}
}

func (w *world) handlerReturned(p *process, x *watched, staged int, err error) {
	cause := context.Cause(x.ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	x.state, x.err, x.cause, x.staged = returned, err, cause, staged
	late := errors.As(err, new(*middleware.TimeoutError)) // its own time is over too
	failed := errors.Is(err, context.Canceled) && bus.VerdictOf(err).Kind == bus.Failed
	if cause == nil && !late && failed && errors.Is(x.cutShort, bus.ErrLeaseLost) {
		w.note("%s: %s fails because another event was cut short: %v", p.name, x.d.ID, err)
	}
	if err == nil {
		w.happened(p, history.Finished, x.d, "")
	} else {
		w.happened(p, history.Failed, x.d, err.Error())
	}
}

// begunInBatch: what was lost while the batch collected has no place in it.
func (w *world) begunInBatch(d *transport.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x := w.deliveries[d]; !x.told.IsZero() && x.told.Before(time.Now()) {
		w.note("%s: %s is handled in a batch although its lease is lost", x.sub.f.name, d.ID)
	}
}

// cutInBatch notes why the batch of an event was cut short, nil if it was not.
func (w *world) cutInBatch(d *transport.Delivery, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deliveries[d].cutShort = cause
}

func (w *world) hookCalled(p *process, x *watched, v transport.Verdict, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x.hooks++
	switch {
	case err == nil && v != x.taken:
		w.note("%s: the hook of %s hears %v, and the broker took %v", p.name, x.d.ID, v, x.taken)
	case err == nil && (x.err != nil || v == transport.Done):
		w.happened(p, history.Settled, x.d, v.String())
	case err == nil, errors.Is(err, bus.ErrLeaseLost):
		w.happened(p, history.Refused, x.d, v.String())
	}
}

// lossKnown: the broker knows that the lease is lost.
func (w *world) lossKnown(x *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x != nil {
		x.lost = true
	}
}

// lossTold: the engine knows that the lease is lost.
func (w *world) lossTold(x *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x.told = time.Now()
	if x.state == running && x.ctx.Err() == nil {
		w.note("%s: the handler of %s is not told that its lease is lost", x.sub.f.name, x.d.ID)
	}
}

// judge looks at what the engine wants to settle.
func (w *world) judge(x *watched, st transport.Settlement) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x == nil || x.answered {
		w.note("settled, and is settled again or was never delivered: %s as %v", st.ID, st.Verdict)
		return
	}
	if w.limited && st.Verdict == transport.Failed && (x.state == running || errors.Is(x.cause, context.DeadlineExceeded)) {
		x.abandoned = true
	}
	if !w.fits(x, st) {
		w.note("%s: %s is settled as %v; handler %d returned %v, context %v", x.sub.f.name, st.ID, st.Verdict, x.state, x.err, x.cause)
	}
	if st.Verdict == transport.Done && len(st.Stage) != x.staged {
		w.note("%s: %s staged %d and is settled with %d", x.sub.f.name, st.ID, x.staged, len(st.Stage))
	}
}

// fits says whether a settlement is what the handler's end asks for.
func (w *world) fits(x *watched, st transport.Settlement) bool {
	switch {
	case x.abandoned, x.refused && st.Verdict == transport.Failed:
		return st.Verdict == transport.Failed
	case x.state == queued:
		return st.Verdict == transport.Deferred && st.After == 0
	case x.state == running:
		return false
	case x.cause == bus.ErrLeaseLost && st.Verdict != transport.Done:
		return false
	}
	switch bus.VerdictOf(x.err).Kind {
	case bus.Handled:
		return st.Verdict == transport.Done
	case bus.Failed:
		if x.cause == bus.ErrDraining {
			return st.Verdict == transport.Deferred
		}
		return st.Verdict == transport.Failed || st.Verdict == transport.Deferred && x.ctx.Err() != nil // which it may since
	case bus.PermanentlyFailed:
		return st.Verdict == transport.Failed
	case bus.DeadLettered:
		return st.Verdict == transport.Dead
	}
	return st.Verdict == transport.Deferred
}

// taken: the broker has ended the delivery.
func (w *world) taken(x *watched, st transport.Settlement) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x == nil || x.taken != 0 {
		return
	}
	switch x.taken = st.Verdict; {
	case st.Verdict == transport.Failed:
		w.failures[st.ID]++
	case x.lost:
		w.overtaken[st.ID] = true
	}
}

// answered: the engine was told what became of a settlement.
func (w *world) answered(x *watched, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case x == nil:
	case err == nil, errors.Is(err, transport.ErrLeaseLost), errors.Is(err, transport.ErrClosed):
		x.answered = true
	case errors.Is(err, transport.ErrRefused):
		x.refused = true
	}
}

// leftToClose: the engine leaves the group while nothing hindered it.
func (w *world) leftToClose(x *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !x.answered && x.told.IsZero() && x.state != running {
		w.note("%s: %s is left to Close; handler %d returned %v", x.sub.f.name, x.d.ID, x.state, x.err)
	}
}

// judgeHooks finds deliveries whose hook was not called exactly once.
func (w *world) judgeHooks() {
	for _, x := range w.all {
		if x.hooked && x.hooks != 1 {
			w.note("%s: the hook of %s was called %d times", x.sub.f.name, x.d.ID, x.hooks)
		}
	}
}
