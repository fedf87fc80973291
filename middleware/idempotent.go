package middleware

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// IdempotentOptions are the settings of [Idempotent].
type IdempotentOptions struct {
	// Key says what is handled once in a topic and group; default, and where it returns "", the message's id. It is called once a
	// delivery, before anything else, and sees headers and bytes.
	Key func(d *bus.Delivery) string
	// Expiry is how long a claim outlives its process, and so how long an event waits whose process was killed; default 1m, at least
	// 10ms. Claims of handlers that take longer are renewed.
	Expiry time.Duration
	// Keep is how long what was done is known; default 24h. A duplicate that comes later is handled again.
	Keep time.Duration
	// FailOpen handles events without a claim while the store fails. By default the subscription is paused.
	FailOpen bool
	// StoreDown is for how long it is paused, and then between probes; default 5s.
	StoreDown time.Duration
	// Logger says where it logs; default [slog.Default].
	Logger *slog.Logger
}

// Idempotent keeps what was handled from being handled again, and what is being handled from being handled twice at the same
// time: by this process or others that use the same store, for the same topic, group and key.
//
// Before the handler it begins a claim in c. An event that is done is acknowledged without a call of the handler; one that
// another handles now is snoozed, never dropped. When the handler returns nil the claim becomes done; when it returns anything
// else, panics or is cut short, the claim is released and the next try begins another: so a failed event can be tried again, and
// a dead letter can be replayed. The claim of a process that died expires. A claim that was lost, because it could not be renewed
// in time, ends the handler's context with the cause [ErrClaimLost]; that costs no attempt.
//
// What it promises: within Keep, what was finished is not handled again, not even by a group that was set back on purpose. A
// process that dies between the handler's effect and the end of the claim leaves an event that is handled again. Only a store
// that ends the claim together with the effect closes that gap: middleware/sqlclaims does, in the application's own transaction.
//
// What a handler publishes through its event is stored with the acknowledgement, and its claim becomes done only after that: if
// the process dies in between, or the acknowledgement is refused, the event is handled again rather than its output lost.
//
// When the store fails the subscription is paused, so that no event costs an attempt or is handled twice; see FailOpen. A claim
// that cannot be finished though the store was tried again for two seconds is reported at Warn: the acknowledgement still ends
// the event, and only another copy of it would be handled again. A store that does not answer at all holds up the handler's
// slot until its client gives up, as go-redis does after its ReadTimeout: give a SQL driver a limit too.
//
// It takes two calls of the store a delivery. Leave it out where handling twice does no harm. Its place is outside [Retry], so
// that a delivery has one claim, and inside dlq.Route. It may be used for many subscriptions, concurrently. With nil
// claims Run of the bus returns an error.
func Idempotent(c Claims, o IdempotentOptions) bus.Middleware {
	if c == nil {
		return nil // reported by Run
	}
	o.Expiry = max(positive(o.Expiry, time.Minute), 10*time.Millisecond)
	o.Keep = positive(o.Keep, 24*time.Hour)
	o.StoreDown = positive(o.StoreDown, 5*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	i := &idempotent{IdempotentOptions: o, claims: c, owner: rand.Text()[:12] + "."}
	i.renewal.init(i)
	return bus.Describe(bus.Layer{Name: "middleware.Idempotent", Knobs: i.knobs()}, func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error { return i.handle(ctx, d, next) }
	})
}

func (o IdempotentOptions) knobs() string {
	of, store := "the message's id", "pauses for "+o.StoreDown.String()
	if o.Key != nil {
		of = "a key of its own"
	}
	if o.FailOpen {
		store = "handles without a claim"
	}
	return fmt.Sprintf("once for %s, claims expire after %v, done is known for %v, %s when the store fails", of, o.Expiry, o.Keep, store)
}

type idempotent struct {
	IdempotentOptions
	claims  Claims
	owner   string        // with the number of a try it is unique
	tries   atomic.Uint64 // so many owners there were
	open    seldom        // says that events are handled without a claim
	renewal renewal
	unsure  unsure
}

func (i *idempotent) handle(ctx context.Context, d *bus.Delivery, next bus.Handler) error {
	c := i.claim(d)
	done, wait, err := i.claims.Begin(ctx, c, i.Expiry)
	if err != nil && ctx.Err() == nil { // perhaps only its answer was lost
		done, wait, err = i.claims.Begin(ctx, c, i.Expiry)
	}
	switch {
	case err != nil:
		i.unsure.note(c, i.Expiry)
		return i.withoutStore(ctx, d, next, err)
	case done:
		i.duplicate(ctx, d, true)
		return nil
	case wait > 0:
		return i.taken(ctx, d, next, c, wait)
	}
	h := &held{Context: ctx, by: i, delivery: d, claim: c}
	i.renewal.add(h)
	return h.handle(next)
}

func (i *idempotent) claim(d *bus.Delivery) transport.Claim {
	key := ""
	if i.Key != nil {
		key = i.Key(d)
	}
	c := transport.Claim{Topic: d.Topic, Group: d.Group, Key: cmp.Or(key, d.ID)}
	if c.Owner = i.unsure.take(c); c.Owner == "" {
		var text [32]byte
		c.Owner = string(strconv.AppendUint(append(text[:0], i.owner...), i.tries.Add(1), 36))
	}
	return c
}

// withoutStore is what happens when no claim can be begun.
func (i *idempotent) withoutStore(ctx context.Context, d *bus.Delivery, next bus.Handler, err error) error {
	err = fmt.Errorf("middleware: idempotent: begin a claim: %w", err)
	switch {
	case bus.CutShort(ctx):
		return err
	case !i.FailOpen:
		return bus.Pause(i.StoreDown, err)
	}
	if i.open.now() {
		i.Logger.Warn("events are handled without a claim, duplicates too", "topic", d.Topic, "group", d.Group, "error", err)
	}
	return next(ctx, d)
}

// taken is what happens to an event whose claim runs for another.
func (i *idempotent) taken(ctx context.Context, d *bus.Delivery, next bus.Handler, c transport.Claim, wait time.Duration) error {
	switch {
	case i.renewal.waitsFor(d): // this very delivery was handled, and comes again before it is settled
		i.duplicate(ctx, d, true)
		return nil
	case i.within(ctx, c):
		return next(ctx, d)
	}
	i.duplicate(ctx, d, false)
	return i.later(wait, ErrRunning)
}

// within says whether an Idempotent around this one has the claim: it was used twice by mistake.
func (i *idempotent) within(ctx context.Context, c transport.Claim) bool {
	outer, ok := ctx.Value(heldKey{}).(*held)
	if !ok {
		return false
	}
	if c.Owner = outer.claim.Owner; c != outer.claim {
		return false
	}
	lost, err := i.claims.Renew(ctx, []transport.Claim{c}, i.Expiry)
	return err == nil && len(lost) == 0
}

// later snoozes an event for a part of the time that a claim still has, because most handlers end long before.
func (i *idempotent) later(wait time.Duration, why error) error {
	return bus.Snooze(min(wait, i.Expiry/10), why)
}

func (i *idempotent) duplicate(ctx context.Context, d *bus.Delivery, done bool) {
	if o := observerOf(ctx); o != nil {
		o.Duplicate(ctx, d, done)
	}
}

// seldom bounds what is logged to once a minute.
type seldom struct{ next atomic.Int64 }

func (s *seldom) now() bool {
	now, next := time.Now().UnixNano(), s.next.Load()
	return now >= next && s.next.CompareAndSwap(next, now+int64(time.Minute))
}
