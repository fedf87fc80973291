package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
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

// faultyClaims are claims in memory whose calls a test counts and breaks. A function that is nil breaks nothing; one that
// returns an error keeps the call from the store.
type faultyClaims struct {
	*middleware.MemoryClaims
	begins, renews, finishes, releases atomic.Int64

	begin, renew, finish, release func(ctx context.Context) error
}

var errStore = errors.New("the store is away")

func newFaultyClaims() *faultyClaims {
	return &faultyClaims{MemoryClaims: middleware.NewMemoryClaims()}
}

func fault(ctx context.Context, calls *atomic.Int64, f func(context.Context) error) error {
	calls.Add(1)
	if f == nil {
		return nil
	}
	return f(ctx)
}

func (f *faultyClaims) Begin(ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
	if err := fault(ctx, &f.begins, f.begin); err != nil {
		return false, 0, err
	}
	return f.MemoryClaims.Begin(ctx, c, expiry)
}

func (f *faultyClaims) Renew(ctx context.Context, cs []transport.Claim, expiry time.Duration) ([]transport.Claim, error) {
	if err := fault(ctx, &f.renews, f.renew); err != nil {
		return nil, err
	}
	return f.MemoryClaims.Renew(ctx, cs, expiry)
}

func (f *faultyClaims) Finish(ctx context.Context, c transport.Claim, keep time.Duration) error {
	if err := fault(ctx, &f.finishes, f.finish); err != nil {
		return err
	}
	return f.MemoryClaims.Finish(ctx, c, keep)
}

func (f *faultyClaims) Release(ctx context.Context, c transport.Claim) error {
	if err := fault(ctx, &f.releases, f.release); err != nil {
		return err
	}
	return f.MemoryClaims.Release(ctx, c)
}

// claimOfBead is the claim of an event of the topic beads and the group counting, for an owner that is not there otherwise.
func claimOfBead(id string) transport.Claim {
	return transport.Claim{Topic: "beads", Group: "counting", Key: id, Owner: "somebody else"}
}

// stateOf says what a store says of a claim, and leaves it as it is.
func stateOf(t *testing.T, s middleware.Claims, id string) string {
	t.Helper()
	done, wait, err := s.Begin(t.Context(), claimOfBead(id), time.Minute)
	require.NoError(t, err)
	switch {
	case done:
		return "done"
	case wait > 0:
		return "running"
	}
	require.NoError(t, s.Release(t.Context(), claimOfBead(id)))
	return "absent"
}

// duplicates is an observer that counts.
type duplicates struct{ done, running atomic.Int64 }

func (*duplicates) Retried(context.Context, *bus.Delivery, int, time.Duration, error) {}

func (o *duplicates) Duplicate(_ context.Context, _ *bus.Delivery, done bool) {
	if done {
		o.done.Add(1)
		return
	}
	o.running.Add(1)
}

func TestIdempotentHandlesOnce(t *testing.T) {
	var seen duplicates
	calls := 0
	h := middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{})(func(context.Context, *bus.Delivery) error {
		calls++
		return nil
	})
	ctx := middleware.Observed(t.Context(), &seen)
	for range 3 {
		require.NoError(t, h(ctx, oneDelivery("1")))
	}
	require.NoError(t, h(t.Context(), oneDelivery("1")), "without an observer")
	require.NoError(t, h(ctx, oneDelivery("2")))
	assert.Equal(t, 2, calls)
	assert.EqualValues(t, 2, seen.done.Load())
	assert.Zero(t, seen.running.Load())
}

func TestIdempotentByAKey(t *testing.T) {
	var got []string
	o := middleware.IdempotentOptions{Key: func(d *bus.Delivery) string { return d.Headers.Get("order") }}
	h := middleware.Idempotent(middleware.NewMemoryClaims(), o)(func(_ context.Context, d *bus.Delivery) error {
		got = append(got, d.ID)
		return nil
	})
	for _, d := range []*bus.Delivery{
		oneDelivery("1", transport.Header{Name: "order", Value: "a"}), oneDelivery("2", transport.Header{Name: "order", Value: "a"}),
		oneDelivery("3", transport.Header{Name: "order", Value: "b"}), oneDelivery("4"), oneDelivery("5"), oneDelivery("4"),
	} {
		require.NoError(t, h(t.Context(), d))
	}
	assert.Equal(t, []string{"1", "3", "4", "5"}, got, "without a key the id counts")
}

func TestIdempotentGroupsAndTopicsAreApart(t *testing.T) {
	calls := 0
	h := middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{})(func(context.Context, *bus.Delivery) error {
		calls++
		return nil
	})
	for _, change := range []func(*bus.Delivery){func(*bus.Delivery) {}, func(d *bus.Delivery) { d.Group = "b" }, func(d *bus.Delivery) { d.Topic = "b" }} {
		d := oneDelivery("1")
		change(d)
		require.NoError(t, h(t.Context(), d))
	}
	assert.Equal(t, 3, calls)
}

func TestIdempotentSnoozesWhatAnotherHandles(t *testing.T) {
	var seen duplicates
	store := middleware.NewMemoryClaims()
	_, _, err := store.Begin(t.Context(), claimOfBead("1"), time.Hour)
	require.NoError(t, err)
	for expiry, want := range map[time.Duration]time.Duration{0: 6 * time.Second, time.Second: 100 * time.Millisecond, 20 * time.Hour: 2 * time.Hour} {
		h := middleware.Idempotent(store, middleware.IdempotentOptions{Expiry: expiry})(returning(errors.New("called")))
		got := h(middleware.Observed(t.Context(), &seen), oneDelivery("1"))
		require.ErrorIs(t, got, middleware.ErrRunning)
		v := bus.VerdictOf(got)
		assert.Equal(t, bus.Snoozed, v.Kind)
		if want > time.Hour {
			assert.LessOrEqual(t, v.After, time.Hour, "no longer than it has")
			assert.Greater(t, v.After, time.Minute)
			continue
		}
		assert.Equal(t, want, v.After)
	}
	assert.EqualValues(t, 3, seen.running.Load())
	assert.Zero(t, seen.done.Load())
}

func TestIdempotentLetsOutcomesPassAndReleases(t *testing.T) {
	for _, o := range everyOutcome {
		for _, cause := range []error{nil, bus.ErrDraining, bus.ErrLeaseLost} {
			store := middleware.NewMemoryClaims()
			ctx, cancel := context.WithCancelCause(t.Context())
			got := middleware.Idempotent(store, middleware.IdempotentOptions{})(func(ctx context.Context, _ *bus.Delivery) error {
				assert.Equal(t, "running", stateOf(t, store, "1"), o.name)
				if cause != nil {
					cancel(cause)
				}
				return o.err
			})(ctx, oneDelivery("1"))
			cancel(nil)
			assert.True(t, got == o.err, "%s, %v: got %v", o.name, cause, got)
			want := "absent"
			if o.err == nil {
				want = "done"
			}
			assert.Equal(t, want, stateOf(t, store, "1"), "%s, %v", o.name, cause)
		}
	}
}

func TestIdempotentReleasesWhenTheHandlerDoesNotReturn(t *testing.T) {
	store := middleware.NewMemoryClaims()
	mw := middleware.Idempotent(store, middleware.IdempotentOptions{})
	d := oneDelivery("1")
	assert.PanicsWithValue(t, "ouch", func() {
		_ = mw(func(context.Context, *bus.Delivery) error { panic("ouch") })(t.Context(), d)
	})
	assert.Equal(t, "absent", stateOf(t, store, "1"))
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = mw(func(context.Context, *bus.Delivery) error { runtime.Goexit(); return nil })(t.Context(), d)
		t.Error("returned")
	})
	wg.Wait()
	assert.Equal(t, "absent", stateOf(t, store, "1"))
}

func TestIdempotentPassesTheDeliveryAndTheContextOn(t *testing.T) {
	type key struct{}
	d := oneDelivery("1")
	ctx, cancel := context.WithDeadline(context.WithValue(t.Context(), key{}, "value"), time.Now().Add(time.Hour))
	defer cancel()
	deadline, _ := ctx.Deadline()
	var inner, child context.Context
	err := middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{})(func(ctx context.Context, got *bus.Delivery) error {
		assert.Same(t, d, got)
		inner = ctx
		for range 2 { // before and after it was asked for its end
			assert.Equal(t, "value", ctx.Value(key{}))
			assert.NoError(t, ctx.Err())
			at, ok := ctx.Deadline()
			assert.True(t, ok)
			assert.Equal(t, deadline, at)
			assert.Contains(t, fmt.Sprint(ctx), "Idempotent")
			select {
			case <-ctx.Done():
				t.Error("ended")
			default:
			}
		}
		child, cancel = context.WithCancel(ctx)
		return nil
	})(ctx, d)
	require.NoError(t, err)
	assert.ErrorIs(t, inner.Err(), context.Canceled)
	assert.ErrorIs(t, child.Err(), context.Canceled, "it ends with the handler")
}

func TestIdempotentManyAskForTheEnd(t *testing.T) {
	h := middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{})(func(ctx context.Context, _ *bus.Delivery) error {
		ends := make(chan (<-chan struct{}), 16)
		for range cap(ends) {
			go func() { ends <- ctx.Done() }()
		}
		first := <-ends
		for range cap(ends) - 1 {
			assert.Equal(t, first, <-ends, "there is one")
		}
		return nil
	})
	for i := range 50 {
		require.NoError(t, h(t.Context(), oneDelivery(keys[i])))
	}
}

func TestIdempotentPausesWhileTheStoreFails(t *testing.T) {
	onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
		store := newFaultyClaims()
		end := time.Now().Add(time.Minute)
		store.begin = func(context.Context) error {
			if time.Now().Before(end) {
				return errStore
			}
			return nil
		}
		var handled atomic.Int64
		beads.Subscribe(b, "counting", func(_ context.Context, e *bus.Event[int]) error {
			assert.Equal(t, 1, e.Attempt, "no attempt is counted")
			handled.Add(1)
			return nil
		}, bus.Use(middleware.Idempotent(store, middleware.IdempotentOptions{})))
		publishBeads(t, b, 100)
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.EqualValues(t, 100, handled.Load())
		assert.Less(t, store.begins.Load(), int64(100+100), "it stops receiving, and probes")
		assert.Greater(t, store.begins.Load(), int64(100+10), "every five seconds")
	})
}

func TestIdempotentFailsOpenIfAskedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		store := newFaultyClaims()
		store.begin = func(context.Context) error { return errStore }
		calls := 0
		o := middleware.IdempotentOptions{FailOpen: true, Logger: log.logger(slog.LevelDebug)}
		h := middleware.Idempotent(store, o)(func(ctx context.Context, d *bus.Delivery) error {
			_, _, claimed := middleware.ClaimOf(ctx, d)
			assert.False(t, claimed)
			calls++
			return errBroken
		})
		for range 120 {
			require.ErrorIs(t, h(t.Context(), oneDelivery("1")), errBroken)
			time.Sleep(time.Second)
		}
		assert.Equal(t, 120, calls)
		assert.Len(t, log.lines(), 2, "at most one line a minute")
		assert.Len(t, log.with("WARN", "without a claim", "store is away"), 2)
	})
}

func TestIdempotentTellsACutShortBeginFromAStoreThatFails(t *testing.T) {
	for _, failOpen := range []bool{false, true} {
		h := middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{FailOpen: failOpen})(returning(errors.New("called")))
		err := h(ended(t, bus.ErrDraining), oneDelivery("1"))
		assert.Equal(t, bus.Failed, bus.VerdictOf(err).Kind, "the engine gives it back")
		assert.ErrorIs(t, err, context.Canceled)
	}
}

func TestIdempotentAnAnswerThatWasLost(t *testing.T) {
	store := &losingAnswers{MemoryClaims: middleware.NewMemoryClaims()}
	h := middleware.Idempotent(store, middleware.IdempotentOptions{})(returning(nil))
	require.NoError(t, h(t.Context(), oneDelivery("1")))
	assert.Equal(t, "done", stateOf(t, store.MemoryClaims, "1"))
}

// losingAnswers loses the first answer of Begin and of Finish.
type losingAnswers struct {
	*middleware.MemoryClaims
	begun, finished bool
}

func (l *losingAnswers) Begin(ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
	done, wait, err := l.MemoryClaims.Begin(ctx, c, expiry)
	if !l.begun {
		l.begun = true
		return false, 0, errStore
	}
	return done, wait, err
}

func (l *losingAnswers) Finish(ctx context.Context, c transport.Claim, keep time.Duration) error {
	err := l.MemoryClaims.Finish(ctx, c, keep)
	if !l.finished {
		l.finished = true
		return errStore
	}
	return err
}

func TestIdempotentTriesToFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		store := newFaultyClaims()
		end := time.Now().Add(time.Second)
		store.finish = func(ctx context.Context) error {
			if time.Now().Before(end) {
				return errStore
			}
			return ctx.Err()
		}
		h := middleware.Idempotent(store, middleware.IdempotentOptions{Logger: log.logger(slog.LevelDebug)})(returning(nil))
		require.NoError(t, h(t.Context(), oneDelivery("1")))
		assert.Equal(t, "done", stateOf(t, store.MemoryClaims, "1"))
		assert.LessOrEqual(t, store.finishes.Load(), int64(8))
		assert.Empty(t, log.lines())

		end = time.Now().Add(time.Hour)
		began := time.Now()
		require.NoError(t, h(t.Context(), oneDelivery("2")), "the acknowledgement is what counts")
		assert.LessOrEqual(t, time.Since(began), 2*time.Second)
		assert.Len(t, log.with("WARN", "cannot be finished", "store is away", "id=2"), 1)
		assert.Equal(t, "running", stateOf(t, store.MemoryClaims, "2"), "it is not released")
	})
}

func TestIdempotentFinishesWhenTheHandlersTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyClaims()
		handle := func(id string) {
			ctx, cancel := context.WithCancelCause(t.Context())
			h := middleware.Idempotent(store, middleware.IdempotentOptions{Logger: silent})(func(context.Context, *bus.Delivery) error {
				cancel(bus.ErrLeaseLost)
				return nil
			})
			began := time.Now()
			require.NoError(t, h(ctx, oneDelivery(id)))
			assert.Zero(t, time.Since(began), "it does not wait")
		}
		handle("1")
		assert.Equal(t, "done", stateOf(t, store.MemoryClaims, "1"))
		assert.EqualValues(t, 2, store.finishes.Load(), "once in vain, with the context that has ended")
		store.finish = func(context.Context) error { return errStore }
		handle("2")
		assert.EqualValues(t, 2+2, store.finishes.Load())
	})
}

func TestIdempotentDoesNotHoldUpTheDrain(t *testing.T) {
	var log journal
	onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
		store := newFaultyClaims()
		store.finish = func(context.Context) error { return errStore }
		stopping := make(chan struct{})
		beads.Subscribe(b, "counting", func(_ context.Context, e *bus.Event[int]) error {
			<-stopping
			<-e.Draining()
			return nil
		}, bus.Use(middleware.Idempotent(store, middleware.IdempotentOptions{Logger: log.logger(slog.LevelDebug)})))
		publishBeads(t, b, 1)
		stop := bustest.Start(t, b)
		synctest.Wait()
		began := time.Now()
		close(stopping)
		stop()
		assert.Less(t, time.Since(began), 50*time.Millisecond)
		assert.EqualValues(t, 2, store.finishes.Load(), "but it tries once more")
		assert.Len(t, log.with("cannot be finished"), 1)
	})
}

func TestIdempotentReportsWhatItCannotRelease(t *testing.T) {
	var log journal
	store := newFaultyClaims()
	store.release = func(context.Context) error { return errStore }
	h := middleware.Idempotent(store, middleware.IdempotentOptions{Logger: log.logger(slog.LevelDebug)})(returning(errBroken))
	require.True(t, h(t.Context(), oneDelivery("1")) == errBroken)
	assert.Len(t, log.with("WARN", "cannot be released", "store is away", "expiry=1m0s"), 1)
	assert.NotContains(t, fmt.Sprint(log.lines()), "k-1", "keys stay out of the log")
}

func TestIdempotentUsedTwiceByMistake(t *testing.T) {
	store := middleware.NewMemoryClaims()
	calls := 0
	o := middleware.IdempotentOptions{}
	h := middleware.Idempotent(store, o)(middleware.Idempotent(store, o)(func(context.Context, *bus.Delivery) error {
		calls++
		return nil
	}))
	require.NoError(t, h(t.Context(), oneDelivery("1")))
	require.NoError(t, h(t.Context(), oneDelivery("1")))
	assert.Equal(t, 1, calls)

	other := middleware.NewMemoryClaims() // a second store, where somebody else has the claim
	_, _, err := other.Begin(t.Context(), claimOfBead("2"), time.Hour)
	require.NoError(t, err)
	h = middleware.Idempotent(store, o)(middleware.Idempotent(other, o)(returning(errors.New("called"))))
	require.ErrorIs(t, h(t.Context(), oneDelivery("2")), middleware.ErrRunning)
}

func TestIdempotentExplainsItself(t *testing.T) {
	onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
		store := middleware.NewMemoryClaims()
		beads.Subscribe(b, "a", nil, bus.Use(middleware.Idempotent(store, middleware.IdempotentOptions{})))
		key := func(*bus.Delivery) string { return "" }
		beads.Subscribe(b, "b", nil, bus.Use(middleware.Idempotent(store, middleware.IdempotentOptions{FailOpen: true, Key: key, Keep: time.Hour})))
		assert.Contains(t, b.Explain(), "middleware.Idempotent: once for the message's id, claims expire after 1m0s, done is known for 24h0m0s, "+
			"pauses for 5s when the store fails")
		assert.Contains(t, b.Explain(), "once for a key of its own, claims expire after 1m0s, done is known for 1h0m0s, handles without a claim when the store fails")
	})
}

func TestIdempotentAllocates(t *testing.T) {
	assert.LessOrEqual(t, allocsOf(t, middleware.Idempotent(alwaysFree{}, middleware.IdempotentOptions{})), 2.0)
}

// alwaysFree begins everything.
type alwaysFree struct{}

func (alwaysFree) Begin(context.Context, transport.Claim, time.Duration) (bool, time.Duration, error) {
	return false, 0, nil
}
func (alwaysFree) Renew(context.Context, []transport.Claim, time.Duration) ([]transport.Claim, error) {
	return nil, nil
}
func (alwaysFree) Finish(context.Context, transport.Claim, time.Duration) error { return nil }
func (alwaysFree) Release(context.Context, transport.Claim) error               { return nil }

func BenchmarkIdempotent(b *testing.B) {
	b.Run("without a store", func(b *testing.B) { costOf(b, middleware.Idempotent(alwaysFree{}, middleware.IdempotentOptions{})) })
	b.Run("memory", func(b *testing.B) {
		n := 0
		costOf(b, middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{Keep: time.Millisecond, Key: func(d *bus.Delivery) string {
			n++
			return keys[n%len(keys)]
		}}))
	})
	b.Run("duplicate", func(b *testing.B) {
		costOf(b, middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{}))
	})
}

var keys = func() (ks [1 << 14]string) {
	for i := range ks {
		ks[i] = strconv.Itoa(i)
	}
	return ks
}()
