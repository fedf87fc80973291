package middleware_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// necklaces are what handlers of beads publish through their events.
var necklaces = bus.NewTopic("necklaces", codec.JSON[int]())

// settling is a transport whose settlements a test sees and stops.
type settling struct {
	*memory.Transport
	settle func(sub transport.Subscription, ss []transport.Settlement) error // an error keeps them from the broker
}

type settlingSub struct {
	transport.Subscription
	of *settling
}

func (s *settling) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	sub, err := s.Transport.Subscribe(ctx, t, g)
	return &settlingSub{sub, s}, err
}

func (s *settlingSub) Settle(ctx context.Context, ss []transport.Settlement) error {
	if err := s.of.settle(s.Subscription, ss); err != nil {
		return err
	}
	return s.Subscription.Settle(ctx, ss)
}

// staging subscribes a handler that publishes a necklace for each bead.
func staging(b *bus.Bus, calls *atomic.Int64, mws ...bus.Middleware) {
	beads.Subscribe(b, "counting", func(ctx context.Context, e *bus.Event[int]) error {
		calls.Add(1)
		return necklaces.Publish(ctx, e, e.Payload)
	}, bus.Use(mws...))
}

// stored counts the necklaces that there are.
func stored(b *bus.Bus) *atomic.Int64 {
	var n atomic.Int64
	necklaces.Subscribe(b, "wearing", func(context.Context, *bus.Event[int]) error { n.Add(1); return nil })
	return &n
}

func TestIdempotentFinishesAfterWhatIsStagedIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := middleware.NewMemoryClaims()
		tr := &settling{Transport: memory.New()}
		t.Cleanup(func() { tr.Close() })
		held := 0
		tr.settle = func(_ transport.Subscription, ss []transport.Settlement) error {
			if len(ss[0].Stage) > 0 {
				held++
				time.Sleep(10 * time.Minute) // it is renewed meanwhile
				assert.Equal(t, "running", stateOf(t, store, "1"))
			}
			return nil
		}
		b := bus.New(tr, bus.Logger(silent))
		var calls atomic.Int64
		stored := stored(b)
		staging(b, &calls, middleware.Idempotent(store, middleware.IdempotentOptions{}))
		require.NoError(t, beads.Publish(t.Context(), b, 1, bus.ID("1")))
		bustest.Start(t, b)
		bustest.Settle(t, b)
		synctest.Wait()
		assert.Equal(t, "done", stateOf(t, store, "1"))
		require.NoError(t, beads.Publish(t.Context(), b, 1, bus.ID("1")))
		bustest.Settle(t, b)
		assert.EqualValues(t, 1, calls.Load())
		assert.EqualValues(t, 1, stored.Load())
		assert.Equal(t, 1, held)
	})
}

// TestIdempotentAProcessThatDiesBeforeItsOutputIsStored: had the claim been finished when the handler returned, the output would
// be lost.
func TestIdempotentAProcessThatDiesBeforeItsOutputIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := middleware.NewMemoryClaims()
		root := memory.New()
		t.Cleanup(func() { root.Close() })
		tr := &settling{Transport: root.Peer()}
		dying := &faultyClaims{MemoryClaims: store} // nothing of the dead process reaches the store
		tr.settle = func(sub transport.Subscription, _ []transport.Settlement) error {
			root.Crash(sub)
			dead := func(context.Context) error { return errors.New("dead") }
			dying.renew, dying.finish, dying.release = dead, dead, dead
			return transport.ErrClosed
		}
		var calls atomic.Int64
		victim, other := bus.New(tr, bus.Logger(silent), bus.Grace(0)), bus.New(root.Peer(), bus.Logger(silent))
		staging(victim, &calls, middleware.Idempotent(dying, middleware.IdempotentOptions{Logger: silent}))
		stored := stored(other)
		staging(other, &calls, middleware.Idempotent(store, middleware.IdempotentOptions{}))
		require.NoError(t, beads.Publish(t.Context(), other, 1, bus.ID("1")))
		require.ErrorIs(t, victim.Run(t.Context()), transport.ErrClosed)
		require.EqualValues(t, 1, calls.Load())
		assert.Equal(t, "running", stateOf(t, store, "1"))

		bustest.Start(t, other)
		bustest.Settle(t, other)
		assert.EqualValues(t, 2, calls.Load(), "when the claim has expired it is handled again")
		assert.EqualValues(t, 1, stored.Load(), "the output is there, once")
		synctest.Wait()
		assert.Equal(t, "done", stateOf(t, store, "1"))
	})
}

func TestIdempotentReleasesWhenTheOutputIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := middleware.NewMemoryClaims()
		tr := &settling{Transport: memory.New()}
		t.Cleanup(func() { tr.Close() })
		refusals := 0
		tr.settle = func(_ transport.Subscription, ss []transport.Settlement) error {
			if len(ss[0].Stage) > 0 && refusals < 3 {
				refusals++
				return &transport.SettleError{Errs: []error{transport.ErrRefused}}
			}
			return nil
		}
		b := bus.New(tr, bus.Logger(silent))
		var calls atomic.Int64
		stored := stored(b)
		staging(b, &calls, middleware.Idempotent(store, middleware.IdempotentOptions{}))
		require.NoError(t, beads.Publish(t.Context(), b, 1, bus.ID("1")))
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.EqualValues(t, 1+3, calls.Load())
		assert.EqualValues(t, 1, stored.Load())
	})
}

func TestIdempotentReleasesWhenAnOutcomeAroundItFails(t *testing.T) {
	onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
		store := middleware.NewMemoryClaims()
		var calls atomic.Int64
		around := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				if err := next(ctx, d); err != nil || d.Attempt > 2 {
					return err
				}
				return errBroken
			}
		}
		stored := stored(b)
		staging(b, &calls, around, middleware.Idempotent(store, middleware.IdempotentOptions{}))
		require.NoError(t, beads.Publish(t.Context(), b, 1, bus.ID("1")))
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.EqualValues(t, 3, calls.Load(), "its output was not stored, so it is handled again")
		assert.EqualValues(t, 1, stored.Load())
		synctest.Wait()
		assert.Equal(t, "done", stateOf(t, store, "1"))
	})
}

// TestIdempotentInsideADuplicator: the second call comes before the first is settled.
func TestIdempotentInsideADuplicator(t *testing.T) {
	onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
		var calls atomic.Int64
		var seen duplicates
		observed := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error { return next(middleware.Observed(ctx, &seen), d) }
		}
		stored := stored(b)
		staging(b, &calls, observed, middleware.Duplicator(), middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{}))
		publishBeads(t, b, 10)
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.EqualValues(t, 10, calls.Load())
		assert.EqualValues(t, 10, stored.Load())
		assert.EqualValues(t, 10, seen.done.Load())
		assert.Zero(t, seen.running.Load())
	})
}

// marking is a store that says that a claim was ended with the effect of the handler.
type marking struct{ *middleware.MemoryClaims }

func (marking) Marked(transport.Claim) bool { return true }

func TestIdempotentReportsWhatIsPublishedAfterTheMark(t *testing.T) {
	var log journal
	onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
		var calls atomic.Int64
		stored := stored(b)
		staging(b, &calls, middleware.Idempotent(marking{middleware.NewMemoryClaims()}, middleware.IdempotentOptions{Logger: log.logger(slog.LevelDebug)}))
		require.NoError(t, beads.Publish(t.Context(), b, 1, bus.ID("1")))
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.EqualValues(t, 1, stored.Load())
		assert.Len(t, log.with("ERROR", "publish", "id=1"), 1)
	})
}

func TestClaimOf(t *testing.T) {
	_, _, claimed := middleware.ClaimOf(t.Context(), oneDelivery("1"))
	assert.False(t, claimed)
	onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
		var mu sync.Mutex
		owners := map[string]bool{}
		check := func(ctx context.Context, e *bus.Event[int]) {
			c, keep, claimed := middleware.ClaimOf(ctx, e.Delivery)
			assert.True(t, claimed)
			assert.Equal(t, 24*time.Hour, keep)
			assert.Equal(t, transport.Claim{Topic: "beads", Group: e.Group, Key: e.ID, Owner: c.Owner}, c)
			mu.Lock()
			defer mu.Unlock()
			assert.False(t, owners[c.Owner])
			owners[c.Owner] = true
		}
		rewriting := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error { return next(ctx, d.WithMessage(d.Message.Clone())) }
		}
		mw := middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{})
		beads.Subscribe(b, "single", func(ctx context.Context, e *bus.Event[int]) error {
			other := oneDelivery("another")
			_, _, claimed := middleware.ClaimOf(ctx, other)
			assert.False(t, claimed)
			check(ctx, e)
			return nil
		}, bus.Use(mw, rewriting), bus.Concurrency(1))
		beads.Subscribe(b, "batches", bus.Batched(10, time.Second, func(ctx context.Context, es []*bus.Event[int]) error {
			for _, e := range es {
				check(ctx, e)
			}
			return nil
		}), bus.Use(mw), bus.Concurrency(1))
		publishBeads(t, b, 25)
		stop := bustest.Start(t, b)
		bustest.Settle(t, b)
		stop()
		assert.Len(t, owners, 2*25)
	})
}

// TestIdempotentReleasesWhatReturnsAfterTheDrain: had nobody said that the event is not settled, its claim would be renewed as long
// as the process lives, and the event would wait as long.
func TestIdempotentReleasesWhatReturnsAfterTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := middleware.NewMemoryClaims()
		tr := memory.New()
		t.Cleanup(func() { tr.Close() })
		b := bus.New(tr, bus.Logger(silent), bus.Grace(time.Second))
		stuck := make(chan struct{})
		sub := beads.Subscribe(b, "counting", func(ctx context.Context, e *bus.Event[int]) error {
			defer func() { <-stuck }()
			return necklaces.Publish(ctx, e, e.Payload)
		}, bus.Use(middleware.Idempotent(store, middleware.IdempotentOptions{})))
		bustest.Start(t, b)
		require.NoError(t, beads.Publish(t.Context(), b, 1, bus.ID("1")))
		synctest.Wait()
		require.ErrorContains(t, sub.Stop(t.Context()), "did not return")
		close(stuck)
		time.Sleep(time.Hour)
		assert.Equal(t, "absent", stateOf(t, store, "1"))
	})
}

// TestIdempotentKnowsADeliveryThatWasRewritten: called twice in one delivery, by what may put another message into it.
func TestIdempotentKnowsADeliveryThatWasRewritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		t.Cleanup(func() { tr.Close() })
		b := bus.New(tr, bus.Logger(silent))
		rewrite := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				m := *d.Message
				return next(ctx, d.WithMessage(&m))
			}
		}
		var calls atomic.Int64
		staging(b, &calls, middleware.Duplicator(), rewrite, middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{}))
		n := stored(b)
		require.NoError(t, beads.Publish(t.Context(), b, 1))
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.EqualValues(t, 1, calls.Load())
		assert.EqualValues(t, 1, n.Load())
	})
}
