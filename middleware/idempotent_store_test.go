package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// An event does not wait for its own claim when it comes again.
func TestIdempotentAllAnswersOfABeginWereLost(t *testing.T) {
	store := &losingBegins{MemoryClaims: middleware.NewMemoryClaims(), lose: 2}
	h := middleware.Idempotent(store, middleware.IdempotentOptions{})(returning(nil))
	require.ErrorIs(t, h(t.Context(), oneDelivery("1")), errStore)
	require.NoError(t, h(t.Context(), oneDelivery("1")), "at once")
	assert.Equal(t, "done", stateOf(t, store.MemoryClaims, "1"))
}

// losingBegins loses so many answers of Begin.
type losingBegins struct {
	*middleware.MemoryClaims
	lose int
}

func (l *losingBegins) Begin(ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
	done, wait, err := l.MemoryClaims.Begin(ctx, c, expiry)
	if l.lose--; l.lose >= 0 {
		return false, 0, errStore
	}
	return done, wait, err
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
