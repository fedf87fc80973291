package middleware

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// A held claim is one whose event is being handled, and the context of its handler. The context that ends with the claim is made
// when somebody asks for its end: most handlers are done before, and a context in a tree costs more than the rest.
type held struct {
	context.Context // without the end
	by              *idempotent
	delivery        *bus.Delivery
	claim           transport.Claim

	ending atomic.Pointer[ending] // nil until asked for
	lost   atomic.Bool            // another has the claim

	inRenewal // guarded by its lock
}

type ending struct {
	context.Context
	cancel context.CancelCauseFunc
}

func (h *held) Done() <-chan struct{} { return h.made().Done() }

func (h *held) Err() error {
	if e := h.ending.Load(); e != nil {
		return e.Err()
	}
	return h.Context.Err()
}

type heldKey struct{}

// Value asks the context with the end once there is one: package context looks there for its cause and its children.
func (h *held) Value(key any) any {
	if key == (heldKey{}) {
		return h
	}
	if e := h.ending.Load(); e != nil {
		return e.Value(key)
	}
	return h.Context.Value(key)
}

// String keeps those who print contexts from reading what is guarded.
func (h *held) String() string { return fmt.Sprintf("%v.Idempotent", h.Context) }

func (h *held) made() *ending {
	if e := h.ending.Load(); e != nil {
		return e
	}
	ctx, cancel := context.WithCancelCause(h.Context)
	if e := (&ending{ctx, cancel}); h.ending.CompareAndSwap(nil, e) {
		return e
	}
	cancel(nil)
	return h.ending.Load()
}

// lose is called when another has the claim.
func (h *held) lose() {
	h.lost.Store(true)
	h.made().cancel(ErrClaimLost)
}

// handle calls the handler, and ends the claim however that ends.
func (h *held) handle(next bus.Handler) (err error) {
	returned := false
	defer func() {
		if e := h.ending.Load(); e != nil {
			e.cancel(nil)
		}
		if !returned {
			h.release(h.Context)
		}
	}()
	err = next(h, h.delivery)
	returned = true
	return h.outcome(err)
}

func (h *held) outcome(err error) error {
	switch {
	case err != nil:
		h.release(h.Context)
		return h.verdict(err)
	case h.delivery.Staged() == 0:
		h.finish(h.Context)
	default:
		h.finishWhenSettled()
	}
	return nil
}

// verdict keeps a failure that the loss of the claim has brought about from costing an attempt.
func (h *held) verdict(err error) error {
	if !h.lost.Load() || bus.CutShort(h.Context) || bus.VerdictOf(err).Kind != bus.Failed {
		return err
	}
	return h.by.later(h.by.Expiry, fmt.Errorf("%w: %v", ErrClaimLost, err))
}

// finishWhenSettled leaves the claim running until what the handler has staged is stored.
func (h *held) finishWhenSettled() {
	if m, ok := h.by.claims.(interface{ Marked(transport.Claim) bool }); ok && m.Marked(h.claim) {
		h.by.Logger.Error("event published through itself after its effect was committed: this is lost if the process dies before the acknowledgement; "+
			"publish through the bus after the commit, or within the transaction to an outbox", h.facts()...)
	}
	h.by.renewal.await(h)
	h.delivery.OnSettled(func(ctx context.Context, v transport.Verdict, err error) {
		if v == transport.Done && err == nil {
			h.finish(ctx)
			return
		}
		h.release(ctx)
	})
}

const (
	finishWithin  = 2 * time.Second
	releaseWithin = 2 * time.Second
)

// finish tries for a while: the handler's work is done, and only this tells others.
func (h *held) finish(ctx context.Context) {
	h.by.renewal.drop(h)
	err := h.by.claims.Finish(ctx, h.claim, h.by.Keep)
	if err != nil {
		err = h.finishAfter(ctx)
	}
	if err != nil {
		h.by.Logger.Warn("the event is handled, but its claim cannot be finished: a duplicate that comes later is handled again",
			append(h.facts(), "error", err)...)
	}
}

// finishAfter tries on for a while, or once more if the handler's time is over or the drain has begun.
func (h *held) finishAfter(ctx context.Context) (err error) {
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishWithin)
	defer cancel()
	for wait := finishWithin / 32; wait < finishWithin; wait *= 2 {
		waited := h.wait(ctx, wait)
		if err = h.by.claims.Finish(patient, h.claim, h.by.Keep); err == nil || !waited {
			return err
		}
	}
	return err
}

func (h *held) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-h.delivery.Draining():
	}
	return false
}

// release lets others begin the claim at once.
func (h *held) release(ctx context.Context) {
	h.by.renewal.free(h)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer cancel()
	if err := h.by.claims.Release(ctx, h.claim); err != nil {
		h.by.Logger.Warn("claim cannot be released: the event waits until it expires", append(h.facts(), "expiry", h.by.Expiry, "error", err)...)
	}
}

func (h *held) facts() []any {
	return []any{"topic", h.claim.Topic, "group", h.claim.Group, "id", h.delivery.ID}
}

// ClaimOf returns the claim under which [Idempotent] has d handled, and for how long it is to be kept when it is done, to stores
// that end it together with the effect of the handler. ctx is the handler's; of a batch the events have one context and a claim
// each. ok is false where there is none.
func ClaimOf(ctx context.Context, d *bus.Delivery) (c transport.Claim, keep time.Duration, ok bool) {
	h, ok := ctx.Value(heldKey{}).(*held)
	if ok {
		h = h.by.renewal.find(h, d)
	}
	if h == nil {
		return transport.Claim{}, 0, false
	}
	return h.claim, h.by.Keep, true
}
