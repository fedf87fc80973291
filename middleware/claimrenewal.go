package middleware

import (
	"context"
	"sync"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// A renewal keeps the claims of one Idempotent from expiring, all in one call. It has no goroutine but that of its timer, which
// ends by itself when it finds no claims: to stop it after each would cost more than all the rest.
type renewal struct {
	by    *idempotent
	every time.Duration
	fails seldom // says that claims cannot be renewed

	mu    sync.Mutex // guards all below, and what of held claims is inRenewal; never held across a call that can wait
	first *held      // of a list
	timer *time.Timer
	armed bool // the timer runs, or its call is under way and will set it again
}

// inRenewal is the part of a held claim that its renewal has.
type inRenewal struct {
	prev, next *held
	listed     bool
	awaits     bool // handled, and to be finished when that is settled
	freed      bool // released
}

func (r *renewal) init(by *idempotent) { r.by, r.every = by, by.Expiry/3 }

func (r *renewal) add(h *held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.next = r.first; h.next != nil {
		h.next.prev = h
	}
	r.first, h.listed = h, true
	if !r.armed {
		r.set(r.every)
	}
}

func (r *renewal) set(d time.Duration) {
	r.armed = true
	if r.timer == nil {
		r.timer = time.AfterFunc(d, r.renew)
		return
	}
	r.timer.Reset(d)
}

// drop ends the renewal of a claim.
func (r *renewal) drop(h *held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(h)
}

// free is drop for a claim that is released next: one that is being renewed is released again when that has ended.
func (r *renewal) free(h *held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(h)
	h.freed = true
}

func (r *renewal) remove(h *held) {
	if !h.listed {
		return
	}
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		r.first = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	}
	h.prev, h.next, h.listed = nil, nil, false
}

// await notes that a claim waits for its delivery to be settled.
func (r *renewal) await(h *held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.awaits = true
}

// waitsFor says whether a claim waits for this very delivery to be settled.
func (r *renewal) waitsFor(d *bus.Delivery) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for h := r.first; h != nil; h = h.next {
		if h.awaits && h.delivery.Same(d) {
			return true
		}
	}
	return false
}

// find returns the claim of d, which is most likely h.
func (r *renewal) find(h *held, d *bus.Delivery) *held {
	if h.delivery.Same(d) {
		return h
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for h := r.first; h != nil; h = h.next {
		if h.delivery.Same(d) {
			return h
		}
	}
	return nil
}

// renew is called by the timer.
func (r *renewal) renew() {
	next := r.every
	if hs, cs := r.begin(); len(cs) > 0 {
		ctx, cancel := context.WithTimeout(valueless{context.WithoutCancel(hs[0].Context)}, r.every)
		defer cancel()
		lost, err := r.by.claims.Renew(ctx, cs, r.by.Expiry)
		if err != nil {
			next = r.every / 4
			if r.fails.now() {
				r.by.Logger.Warn("claims cannot be renewed, trying again", "claims", len(cs), "error", err)
			}
		}
		r.tell(ctx, hs, lost)
	}
	r.end(next)
}

// valueless is a context for work that belongs to no single event: its spans are not part of any event's trace.
type valueless struct{ context.Context }

func (valueless) Value(any) any { return nil }

// begin collects the claims to be renewed. Those of handlers that ignore the end of their context may expire.
func (r *renewal) begin() (hs []*held, cs []transport.Claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for h := r.first; h != nil; h = h.next {
		if h.awaits || h.Context.Err() == nil {
			hs, cs = append(hs, h), append(cs, h.claim)
		}
	}
	return hs, cs
}

// tell tells handlers that their claims are lost, and releases claims that may have been renewed after their release.
func (r *renewal) tell(ctx context.Context, hs []*held, lost []transport.Claim) {
	gone := make(map[string]bool, len(lost))
	for _, c := range lost {
		gone[c.Owner] = true
	}
	told := 0
	for _, h := range hs {
		switch isLost, again := r.answered(h, gone[h.claim.Owner]); {
		case again:
			_ = r.by.claims.Release(ctx, h.claim) // if not, it expires
		case isLost:
			h.lose()
			if told++; told <= lossesTold {
				r.by.Logger.Warn("claim lost while handling: another handles the event", h.facts()...)
			}
		}
	}
	if more := told - lossesTold; more > 0 {
		r.by.Logger.Warn("more claims lost while handling: others handle the events", "claims", more)
	}
}

// lossesTold is how many claims that one call lost are logged one by one: a store that was emptied loses all of them.
const lossesTold = 10

// answered notes that the call has ended that h was in.
func (r *renewal) answered(h *held, gone bool) (lost, again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if again = h.freed && !gone; again || !gone || h.awaits || !h.listed {
		return false, again
	}
	r.remove(h)
	return true, false
}

// end sets the timer again, if there are claims.
func (r *renewal) end(next time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.armed = r.first != nil; r.armed {
		r.set(next)
	}
}
