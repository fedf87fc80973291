package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

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

func TestIdempotentAReplayedLetterIsHandled(t *testing.T) {
	onABus(t, func(t *testing.T, tr *memory.Transport, b *bus.Bus) {
		var good atomic.Int64
		store := middleware.NewMemoryClaims()
		beads.Subscribe(b, "counting", func(_ context.Context, e *bus.Event[int]) error {
			if e.Replays == 0 {
				return bus.DeadLetter("odd", nil)
			}
			good.Add(1)
			return nil
		}, bus.Use(middleware.Idempotent(store, middleware.IdempotentOptions{})))
		publishBeads(t, b, 10)
		bustest.Start(t, b)
		bustest.Settle(t, b)
		topic := transport.Topic{Name: beads.Name()}
		letters, err := tr.Letters(t.Context(), topic, "counting", "", 100)
		require.NoError(t, err)
		require.Len(t, letters, 10)
		for _, l := range letters {
			_, err := tr.Replay(t.Context(), topic, "counting", l.LetterID)
			require.NoError(t, err)
		}
		bustest.Settle(t, b)
		assert.EqualValues(t, 10, good.Load())
	})
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

// TestIdempotentWithoutClaimsIsReportedByRun: to find out at each delivery would cost the events their attempts.
func TestIdempotentWithoutClaimsIsReportedByRun(t *testing.T) {
	b := bus.New(memory.New(), bus.Use(middleware.Idempotent(nil, middleware.IdempotentOptions{})))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	assert.ErrorContains(t, b.Run(ctx), "is nil")
}
