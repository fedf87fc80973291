package simulate_test

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
)

type order struct{ ID string }

var (
	orders  = bus.NewTopic("orders", codec.JSON[order]())
	outputs = bus.NewTopic("outputs", codec.JSON[order]())
)

var (
	errCard  = errors.New("the card is declined")
	errPanic = errors.New("the handler panicked")
	errExit  = errors.New("the handler ended its goroutine")
)

// stages says whether the handlers of an event publish through it. The others show that done is done, whoever did it.
func stages(id string) bool { return id[len(id)-1]%4 != 0 }

// handle takes a while and ends somehow.
func (p *process) handle(ctx context.Context, e *bus.Event[order]) error {
	d := p.w.diceOf(e.ID)
	early := d.one(2)
	if early {
		if err := p.stage(ctx, e); err != nil {
			return err
		}
	}
	if err := p.work(ctx, d); err != nil {
		return err
	}
	if !early {
		if err := p.stage(ctx, e); err != nil {
			return err
		}
	}
	return p.end(d)
}

func (p *process) stage(ctx context.Context, e *bus.Event[order]) error {
	if !stages(e.ID) {
		return nil
	}
	return outputs.Publish(ctx, e, e.Payload, bus.ID("output of "+e.ID))
}

// work lets time pass.
func (p *process) work(ctx context.Context, d *dice) error {
	long := d.upTo(2 * time.Second)
	if p.w.healed.Load() {
		long = d.upTo(50 * time.Millisecond) // a batch has to end within every limit
	}
	if p.w.strikes(d, handlerSlow) {
		long = d.upTo(3 * p.w.lease)
	}
	if p.w.strikes(d, handlerDeaf) {
		ctx = context.WithoutCancel(ctx)
		long = d.upTo(time.Minute)
	}
	return wait(ctx, long)
}

// end returns, or does not.
func (p *process) end(d *dice) error {
	after := d.upTo(10 * time.Second)
	is := func(f fault) bool { return p.w.strikes(d, f) }
	switch {
	case is(handlerFails):
		return errCard
	case is(handlerPanics):
		panic("boom")
	case is(handlerExits):
		runtime.Goexit()
	case is(handlerPermanent):
		return bus.Permanent(errCard)
	case is(handlerSnoozes):
		return bus.Snooze(after, errCard)
	case is(handlerPauses):
		return bus.Pause(after, errCard)
	case is(handlerGivesUp):
		return bus.DeadLetter("rejected", errCard)
	}
	return nil
}

// handleBatch handles one event after the other, as handle does, until its context ends. A panic is that of the whole batch.
func (p *process) handleBatch(ctx context.Context, es []*bus.Event[order]) error {
	for _, e := range es {
		p.w.begunInBatch(e.Delivery.Delivery)
	}
	errs := make(bus.BatchErrors, len(es))
	for i, e := range es {
		if errs[i] = p.handle(ctx, e); ctx.Err() != nil {
			break
		}
	}
	for i, e := range es {
		p.w.cutInBatch(e.Delivery.Delivery, context.Cause(ctx))
		if ctx.Err() != nil && errs[i] == nil {
			errs[i] = ctx.Err()
		}
	}
	return errs
}
