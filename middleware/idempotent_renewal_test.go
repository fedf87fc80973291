package middleware_test

import (
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// handling is a handler of one delivery that a test looks at and ends.
type handling struct {
	ctx chan context.Context // when it has begun
	end chan error           // what it returns
	out chan error           // what Idempotent returns
}

func begin(t *testing.T, mw bus.Middleware, id string) (*handling, context.Context) {
	t.Helper()
	return beginIn(t, t.Context(), mw, id)
}

func beginIn(t *testing.T, ctx context.Context, mw bus.Middleware, id string) (*handling, context.Context) {
	t.Helper()
	h := &handling{make(chan context.Context, 1), make(chan error), make(chan error, 1)}
	go func() {
		h.out <- mw(func(ctx context.Context, _ *bus.Delivery) error {
			h.ctx <- ctx
			return <-h.end
		})(ctx, oneDelivery(id))
	}()
	return h, <-h.ctx
}

func (h *handling) returns(err error) error {
	h.end <- err
	return <-h.out
}

func TestIdempotentRenewsAllInOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyClaims()
		mw := middleware.Idempotent(store, middleware.IdempotentOptions{Expiry: 30 * time.Second})
		one, ctx := begin(t, mw, "1")
		two, _ := begin(t, mw, "2")
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, "running", stateOf(t, store, "1"))
		assert.Equal(t, "running", stateOf(t, store, "2"))
		assert.EqualValues(t, 3600/10, store.renews.Load(), "both in one call, three times an expiry")
		assert.NoError(t, ctx.Err())
		require.NoError(t, one.returns(nil))
		require.ErrorIs(t, two.returns(errBroken), errBroken)
		assert.Equal(t, "done", stateOf(t, store, "1"))
		assert.Equal(t, "absent", stateOf(t, store, "2"))

		time.Sleep(time.Hour)
		assert.EqualValues(t, 3600/10, store.renews.Load(), "nothing is renewed that is not there")
		three, _ := begin(t, mw, "3")
		time.Sleep(time.Minute)
		assert.Equal(t, "running", stateOf(t, store, "3"), "it begins again")
		require.NoError(t, three.returns(nil))
	})
}

func TestIdempotentClaimsThatBeginAtAnyTimeAreRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := middleware.NewMemoryClaims()
		mw := middleware.Idempotent(store, middleware.IdempotentOptions{Expiry: 30 * time.Second})
		var all []*handling
		for i := range 40 {
			h, _ := begin(t, mw, keys[i])
			all = append(all, h)
			time.Sleep(time.Second)
			if i%3 == 0 { // some are short
				require.NoError(t, h.returns(nil))
				all = all[:len(all)-1]
			}
			for _, k := range keys[:i] {
				require.NotEqual(t, "absent", stateOf(t, store, k))
			}
		}
		for _, h := range all {
			require.NoError(t, h.returns(nil))
		}
	})
}

// steal makes the next claims of id another's, as if they had expired and another had been faster.
func steal(t *testing.T, store *faultyClaims, id string) {
	t.Helper()
	require.NoError(t, store.MemoryClaims.Finish(t.Context(), claimOfBead(id), 0))
	thief := claimOfBead(id)
	thief.Owner = "a thief"
	_, wait, err := store.MemoryClaims.Begin(t.Context(), thief, time.Hour)
	require.NoError(t, err)
	require.Zero(t, wait)
}

func TestIdempotentALostClaimEndsTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		store := newFaultyClaims()
		mw := middleware.Idempotent(store, middleware.IdempotentOptions{Expiry: 30 * time.Second, Logger: log.logger(slog.LevelDebug)})
		asked, ctx := begin(t, mw, "asked")
		child, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		later, ctxLater := begin(t, mw, "later")
		safe, ctxSafe := begin(t, mw, "safe")
		steal(t, store, "asked")
		steal(t, store, "later")
		time.Sleep(11 * time.Second)

		for _, c := range []context.Context{ctx, child, ctxLater} {
			assert.ErrorIs(t, c.Err(), context.Canceled)
			assert.Equal(t, middleware.ErrClaimLost, context.Cause(c))
			<-c.Done()
		}
		assert.NoError(t, ctxSafe.Err())
		assert.Len(t, log.with("WARN", "claim lost", "id=asked"), 1)

		v := bus.VerdictOf(asked.returns(ctx.Err()))
		assert.Equal(t, bus.Snoozed, v.Kind, "it costs no attempt")
		assert.Equal(t, 3*time.Second, v.After)
		assert.ErrorIs(t, v.Err, middleware.ErrClaimLost)
		assert.NotErrorIs(t, v.Err, context.Canceled, "what it did is quoted")
		assert.Equal(t, "running", stateOf(t, store.MemoryClaims, "asked"), "the other's claim stays")

		require.NoError(t, later.returns(nil))
		assert.Equal(t, "done", stateOf(t, store, "later"), "what was done is done")
		time.Sleep(time.Hour)
		assert.Len(t, log.with("claim lost"), 2, "it is not asked for again")
		require.NoError(t, safe.returns(nil))
	})
}

// TestIdempotentAMassLossIsLoggedInFewLines: ten claims one by one, the rest as a number. All handlers are told.
func TestIdempotentAMassLossIsLoggedInFewLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		store := newFaultyClaims()
		mw := middleware.Idempotent(store, middleware.IdempotentOptions{Expiry: 30 * time.Second, Logger: log.logger(slog.LevelDebug)})
		var ctxs []context.Context
		for i := range 25 {
			h, ctx := begin(t, mw, strconv.Itoa(i))
			defer func() { h.returns(nil) }()
			ctxs = append(ctxs, ctx)
		}
		for i := range 25 {
			steal(t, store, strconv.Itoa(i))
		}
		time.Sleep(11 * time.Second)

		for _, ctx := range ctxs {
			assert.Equal(t, middleware.ErrClaimLost, context.Cause(ctx))
		}
		assert.Len(t, log.with("WARN", "claim lost while handling"), 10)
		assert.Len(t, log.with("WARN", "more claims lost while handling", "claims=15"), 1)
	})
}

func TestIdempotentALostClaimLetsOtherOutcomesPass(t *testing.T) {
	for _, o := range everyOutcome[2:] { // those with a mark
		synctest.Test(t, func(t *testing.T) {
			store := newFaultyClaims()
			mw := middleware.Idempotent(store, middleware.IdempotentOptions{Logger: silent})
			h, ctx := begin(t, mw, "1")
			steal(t, store, "1")
			<-ctx.Done()
			assert.True(t, h.returns(o.err) == o.err, o.name)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyClaims()
		mw := middleware.Idempotent(store, middleware.IdempotentOptions{Logger: silent})
		above, cancel := context.WithCancelCause(t.Context())
		h, ctx := beginIn(t, above, mw, "1")
		steal(t, store, "1")
		<-ctx.Done()
		cancel(bus.ErrDraining)
		assert.True(t, h.returns(errBroken) == errBroken, "the engine knows better")
	})
}

// TestIdempotentAProcessThatStoodStill: its claims have expired when it goes on. One was taken meanwhile.
func TestIdempotentAProcessThatStoodStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		store := newFaultyClaims()
		still := time.Now().Add(5 * time.Minute)
		store.renew = func(context.Context) error {
			if time.Now().Before(still) {
				return errStore
			}
			return nil
		}
		mw := middleware.Idempotent(store, middleware.IdempotentOptions{Logger: log.logger(slog.LevelDebug)})
		taken, ctx := begin(t, mw, "taken")
		free, ctxFree := begin(t, mw, "free")
		time.Sleep(4 * time.Minute)
		assert.Equal(t, "absent", stateOf(t, store, "taken"))
		steal(t, store, "taken")
		time.Sleep(time.Minute + 5*time.Second)
		assert.Equal(t, middleware.ErrClaimLost, context.Cause(ctx))
		assert.NoError(t, ctxFree.Err(), "nobody else has it")
		assert.Equal(t, "running", stateOf(t, store, "free"))
		assert.Len(t, log.with("WARN", "cannot be renewed", "claims=2", "store is away"), 5, "once a minute")
		taken.returns(ctx.Err())
		require.NoError(t, free.returns(nil))
	})
}

func TestIdempotentAHandlerThatIgnoresItsEndIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyClaims()
		above, cancel := context.WithCancelCause(t.Context())
		h, _ := beginIn(t, above, middleware.Idempotent(store, middleware.IdempotentOptions{}), "1")
		time.Sleep(10 * time.Minute)
		cancel(bus.ErrLeaseLost)
		assert.Equal(t, "running", stateOf(t, store, "1"))
		time.Sleep(time.Minute)
		assert.Equal(t, "absent", stateOf(t, store, "1"))
		require.NoError(t, h.returns(nil))
		assert.Equal(t, "done", stateOf(t, store, "1"))
	})
}

// TestIdempotentAReleaseOvertakesARenewal: the claim is being renewed when it is released, and the store does that first.
func TestIdempotentAReleaseOvertakesARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyClaims()
		goOn := make(chan struct{})
		store.renew = func(context.Context) error { <-goOn; return nil }
		mw := middleware.Idempotent(store, middleware.IdempotentOptions{})
		fails, _ := begin(t, mw, "fails")
		done, _ := begin(t, mw, "done")
		time.Sleep(21 * time.Second)
		require.ErrorIs(t, fails.returns(errBroken), errBroken)
		require.NoError(t, done.returns(nil))
		close(goOn)
		synctest.Wait()
		assert.Equal(t, "absent", stateOf(t, store, "fails"))
		assert.Equal(t, "done", stateOf(t, store, "done"))
		assert.EqualValues(t, 1+1, store.releases.Load()-1, "of stateOf one")
	})
}

// TestIdempotentARenewalHasNoTrace: it belongs to no event, nor does it end with one.
func TestIdempotentARenewalHasNoTrace(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyClaims()
		store.renew = func(ctx context.Context) error {
			assert.Nil(t, ctx.Value(key{}))
			assert.NoError(t, ctx.Err())
			_, ok := ctx.Deadline()
			assert.True(t, ok)
			return nil
		}
		h, _ := beginIn(t, context.WithValue(t.Context(), key{}, 1), middleware.Idempotent(store, middleware.IdempotentOptions{}), "1")
		time.Sleep(70 * time.Second)
		assert.EqualValues(t, 3, store.renews.Load())
		require.NoError(t, h.returns(nil))
	})
}

// TestIdempotentOnABus: duplicates at the same time in three processes, handlers that are slow and misbehave, leases that are
// lost. No two handle an event at the same time, and each is handled once.
func TestIdempotentOnABus(t *testing.T) {
	onABus(t, func(t *testing.T, tr *memory.Transport, _ *bus.Bus) {
		const events, copies = 70, 3
		store := newFaultyClaims()
		store.renew = func(context.Context) error { // now and then it fails
			if store.renews.Load()%3 == 0 {
				return errStore
			}
			return nil
		}
		var now, good, tries [events]atomic.Int64
		for range copies {
			b := bus.New(tr.Peer(), bus.Logger(silent))
			beads.Subscribe(b, "counting", func(_ context.Context, e *bus.Event[int]) error {
				n := e.Payload
				assert.EqualValues(t, 1, now[n].Add(1), "at the same time")
				defer now[n].Add(-1)
				time.Sleep(time.Duration(n) * time.Second)
				if tries[n].Add(1) == 1 {
					if err := misbehave(n); err != nil {
						return err
					}
				}
				good[n].Add(1)
				return nil
			}, bus.Use(middleware.Idempotent(store, middleware.IdempotentOptions{Expiry: 10 * time.Second, Logger: silent})))
			for n := range events {
				require.NoError(t, beads.Publish(t.Context(), b, n, bus.ID(keys[n])))
			}
			bustest.Start(t, b)
		}
		settle(t, tr)
		for n := range events {
			if n%7 == 5 { // dead-lettered at its first try: one copy is a letter, another was handled
				continue
			}
			assert.EqualValues(t, 1, good[n].Load(), "event %d", n)
		}
	})
}

// settle waits until the group has nothing to do.
func settle(t *testing.T, tr *memory.Transport) {
	t.Helper()
	for range 24 * 3600 {
		lag, err := tr.Lag(t.Context(), transport.Topic{Name: "beads"}, "counting")
		require.NoError(t, err)
		if lag.Undelivered+lag.Pending+lag.Waiting+lag.Delayed == 0 {
			return
		}
		time.Sleep(time.Second)
	}
	t.Fatal("not handled in a day")
}

// TestIdempotentAClaimLostInABatchCostsNoAttempt: not that of its event, and not that of the others, whose context ended with it.
func TestIdempotentAClaimLostInABatchCostsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := middleware.NewMemoryClaims()
		tr := memory.New()
		t.Cleanup(func() { tr.Close() })
		b := bus.New(tr, bus.Logger(silent))
		lost := false
		beads.Subscribe(b, "counting", bus.Batched(3, time.Second, func(ctx context.Context, es []*bus.Event[int]) error {
			if lost {
				return nil
			}
			lost = true
			assert.NoError(t, store.Finish(ctx, claimOfBead(es[1].ID), time.Minute)) // by another
			<-ctx.Done()
			return ctx.Err()
		}), bus.Concurrency(1), bus.Use(middleware.Idempotent(store, middleware.IdempotentOptions{Logger: silent})))
		require.NoError(t, beads.PublishAll(t.Context(), b, []int{1, 2, 3}))
		bustest.Start(t, b)
		bustest.Settle(t, b)
		st, err := b.Stats(t.Context())
		require.NoError(t, err)
		assert.True(t, lost)
		assert.Equal(t, bus.Counts{Deferred: 3, Done: 3}, st.Subscriptions[0].Counts)
	})
}
