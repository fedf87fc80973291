package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
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

var errPager = errors.New("pager: 503")

// pager is a handler that a breaker guards, and a delivery to try it with.
type pager struct {
	*middleware.Breaker
	guarded bus.Handler
	calls   atomic.Int32
	answer  func(context.Context) error
}

func newPager(o middleware.BreakerOptions) *pager {
	p := &pager{Breaker: middleware.NewBreaker(o), answer: func(context.Context) error { return nil }}
	p.guarded = p.Handle(func(ctx context.Context, _ *bus.Delivery) error {
		p.calls.Add(1)
		return p.answer(ctx)
	})
	return p
}

func (p *pager) page(ctx context.Context) error { return p.guarded(ctx, lone("pages", "1")) }

// fails makes every call end with err.
func (p *pager) fails(err error) { p.answer = func(context.Context) error { return err } }

// trip makes failures until the breaker opens.
func (p *pager) trip(t *testing.T) {
	t.Helper()
	p.fails(errPager)
	for p.State() == "closed" {
		require.ErrorIs(t, p.page(t.Context()), errPager)
	}
	require.Equal(t, "open", p.State())
}

// lone is a delivery that no bus handles.
func lone(topic, id string) *bus.Delivery {
	return bus.NewDelivery(&transport.Delivery{Message: &bus.Message{ID: id}, Topic: topic, Group: "g", Attempt: 1}, nil)
}

func pausedFor(t *testing.T, err error) time.Duration {
	t.Helper()
	v := bus.VerdictOf(err)
	require.Equal(t, bus.Paused, v.Kind, "%v", err)
	require.ErrorIs(t, err, middleware.ErrOpen)
	return v.After
}

func TestBreakerOpensAfterFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPager(middleware.BreakerOptions{Failures: 3, Open: time.Minute})
		p.fails(errPager)
		for _, err := range []error{errPager, errPager, nil, errPager, errPager} { // never three in a row
			p.fails(err)
			require.Equal(t, err, p.page(t.Context()), "passed on unchanged")
		}
		require.Equal(t, "closed", p.State())
		err := p.page(t.Context())
		assert.Equal(t, time.Minute, pausedFor(t, err).Truncate(time.Microsecond), "what opens it costs no attempt")
		assert.ErrorIs(t, err, errPager, "and is there to be looked at")
		assert.Equal(t, "open", p.State())

		calls := p.calls.Load()
		time.Sleep(20 * time.Second)
		assert.Equal(t, 40*time.Second, pausedFor(t, p.page(t.Context())).Truncate(time.Microsecond))
		assert.Equal(t, calls, p.calls.Load(), "open, nothing is tried")
	})
}

// TestBreakerProbesWhenThePauseIsOver: the bus tries again when the Pause has passed, to the nanosecond, and must not come in vain.
func TestBreakerProbesWhenThePauseIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPager(middleware.BreakerOptions{})
		p.trip(t)
		for range 60 {
			time.Sleep(pausedFor(t, p.page(t.Context())))
			calls := p.calls.Load()
			err := p.page(t.Context())
			assert.Equal(t, calls+1, p.calls.Load())
			assert.ErrorIs(t, err, errPager)
			assert.Equal(t, 10*time.Second, pausedFor(t, err).Truncate(time.Microsecond), "a failed probe costs no attempt")
		}
		p.fails(nil)
		time.Sleep(pausedFor(t, p.page(t.Context())))
		assert.NoError(t, p.page(t.Context()))
		assert.Equal(t, "closed", p.State())
	})
}

func TestBreakerCounts(t *testing.T) {
	cause := errors.New("cause")
	for name, c := range map[string]struct {
		err   error
		wants string
	}{
		"plain":       {cause, "open"},
		"wrapped":     {fmt.Errorf("calling: %w", cause), "open"},
		"pause":       {bus.Pause(time.Second, cause), "open"},
		"snooze":      {bus.Snooze(time.Second, cause), "closed"},
		"permanent":   {bus.Permanent(cause), "closed"},
		"dead letter": {bus.DeadLetter("bad", cause), "closed"},
		"undecodable": {bus.Permanent(fmt.Errorf("decode: %w", bus.ErrUndecodable)), "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPager(middleware.BreakerOptions{Failures: 2})
			p.fails(c.err)
			require.Equal(t, c.err, p.page(t.Context()))
			got := p.page(t.Context())
			assert.Equal(t, c.wants, p.State())
			if bus.VerdictOf(c.err).Kind != bus.Failed {
				assert.Equal(t, c.err, got, "a verdict passes unchanged")
			}
		})
	}
}

// TestBreakerLeavesTheProbeToAnother: what says nothing of the dependency does not use the probe up.
func TestBreakerLeavesTheProbeToAnother(t *testing.T) {
	cut := func(cause error) func(context.Context) error {
		return func(ctx context.Context) error { return context.Cause(ctx) }
	}
	for name, c := range map[string]struct {
		answer func(context.Context) error
		cause  error
	}{
		"permanent":   {func(context.Context) error { return bus.Permanent(errPager) }, nil},
		"dead letter": {func(context.Context) error { return bus.DeadLetter("bad", nil) }, nil},
		"snooze":      {func(context.Context) error { return bus.Snooze(time.Second, nil) }, nil},
		"drain":       {cut(bus.ErrDraining), bus.ErrDraining},
		"lost lease":  {cut(bus.ErrLeaseLost), bus.ErrLeaseLost},
		"lost claim":  {cut(middleware.ErrClaimLost), middleware.ErrClaimLost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPager(middleware.BreakerOptions{Failures: 2, Open: time.Second})
				p.trip(t)
				time.Sleep(2 * time.Second)
				ctx, cancel := context.WithCancelCause(t.Context())
				cancel(c.cause)
				if c.cause == nil {
					ctx = t.Context()
				}
				for range 3 {
					p.answer = c.answer
					require.Equal(t, c.answer(ctx), p.page(ctx))
					require.Equal(t, "half-open", p.State())
				}
				p.fails(nil)
				require.NoError(t, p.page(t.Context()))
				assert.Equal(t, "closed", p.State())
			})
		})
	}
}

// TestBreakerCountsDeadlines: a dependency that hangs is down.
func TestBreakerCountsDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPager(middleware.BreakerOptions{Failures: 2})
		p.answer = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		for range 2 {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, fmt.Errorf("too long: %w", context.DeadlineExceeded))
			defer cancel()
			require.ErrorIs(t, p.page(ctx), context.DeadlineExceeded)
		}
		assert.Equal(t, "open", p.State())
	})
}

func TestBreakerIsFailure(t *testing.T) {
	notFound := errors.New("404")
	p := newPager(middleware.BreakerOptions{Failures: 1, IsFailure: func(err error) bool { return !errors.Is(err, notFound) }})
	p.fails(fmt.Errorf("get: %w", notFound))
	for range 10 {
		require.ErrorIs(t, p.page(t.Context()), notFound)
	}
	assert.Equal(t, "closed", p.State())
	p.fails(errPager)
	require.ErrorIs(t, p.page(t.Context()), errPager)
	assert.Equal(t, "open", p.State())
}

// TestBreakerSurvivesUnwinding: a panic or Goexit is a failure, and gives the place of a probe back.
func TestBreakerSurvivesUnwinding(t *testing.T) {
	for name, unwind := range map[string]func(){"panic": func() { panic("bug") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPager(middleware.BreakerOptions{Failures: 2, Open: time.Second})
				page := func() {
					var wg sync.WaitGroup
					wg.Go(func() {
						defer func() { recover() }()
						_ = p.page(t.Context())
					})
					wg.Wait()
				}
				p.answer = func(context.Context) error { unwind(); return nil }
				page()
				page()
				require.Equal(t, "open", p.State())
				time.Sleep(2 * time.Second)
				page()
				require.Equal(t, "open", p.State(), "the probe failed")
				time.Sleep(2 * time.Second)
				p.fails(nil)
				require.NoError(t, p.page(t.Context()), "there is a place for the next")
				assert.Equal(t, "closed", p.State())
			})
		})
	}
}

// TestBreakerSparesWhatWasRunning: of many calls at once only those cost an attempt that failed before it opened.
func TestBreakerSparesWhatWasRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for failures := 1; failures <= 4; failures++ {
			p := newPager(middleware.BreakerOptions{Failures: failures})
			down := make(chan struct{})
			p.answer = func(context.Context) error { <-down; return errPager }
			var mu sync.Mutex
			kinds := map[bus.VerdictKind]int{}
			for range 16 {
				go func() {
					k := bus.VerdictOf(p.page(t.Context())).Kind
					mu.Lock()
					defer mu.Unlock()
					kinds[k]++
				}()
			}
			synctest.Wait()
			close(down)
			synctest.Wait()
			lost := max(failures-1, 1)
			assert.Equal(t, map[bus.VerdictKind]int{bus.Failed: lost, bus.Paused: 16 - lost}, kinds, "%d failures open it", failures)
		}
	})
}

func TestBreakerHasSoManyProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPager(middleware.BreakerOptions{Probes: 3, Open: 20 * time.Second})
		p.trip(t)
		time.Sleep(21 * time.Second)
		p.calls.Store(0)
		up := make(chan struct{})
		p.answer = func(context.Context) error { <-up; return nil }
		var probes sync.WaitGroup
		for range 3 {
			probes.Go(func() { assert.NoError(t, p.page(t.Context())) })
		}
		synctest.Wait()
		assert.Equal(t, time.Second, pausedFor(t, p.page(t.Context())), "others wait a little")
		assert.EqualValues(t, 3, p.calls.Load())
		assert.Equal(t, "half-open", p.State())
		close(up)
		probes.Wait()
		assert.Equal(t, "closed", p.State())
	})
}

// TestBreakerLosesPatience: after so long a probe that fails costs an attempt, so that an event which always fails ends.
func TestBreakerLosesPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPager(middleware.BreakerOptions{Patience: time.Minute})
		for range 2 {
			p.trip(t)
			opened, free := time.Now(), 0
			for time.Since(opened) < 59*time.Second {
				time.Sleep(10*time.Second + time.Microsecond)
				if bus.VerdictOf(p.page(t.Context())).Kind == bus.Paused {
					free++
				}
			}
			assert.Equal(t, 5, free)
			time.Sleep(10*time.Second + time.Microsecond)
			assert.Equal(t, errPager, p.page(t.Context()))
			pausedFor(t, p.page(t.Context()))
			time.Sleep(11 * time.Second)
			p.fails(nil)
			require.NoError(t, p.page(t.Context()))
			require.Equal(t, "closed", p.State(), "and begins anew")
		}
	})
}

func TestBreakerTellsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		p := newPager(middleware.BreakerOptions{Name: "pager", OnChange: func(name, from, to string) {
			said = append(said, name+": "+from+" > "+to)
		}})
		assert.Equal(t, "pager", p.Name())
		assert.Equal(t, "dependency", middleware.NewBreaker(middleware.BreakerOptions{}).Name())
		p.trip(t)
		time.Sleep(11 * time.Second)
		p.fails(nil)
		require.NoError(t, p.page(t.Context()))
		assert.Equal(t, []string{"pager: closed > open", "pager: open > half-open", "pager: half-open > closed"}, said)
	})
}

// broker is what a breaker's Send guards.
type broker struct {
	sends int
	err   error
}

func (b *broker) send(context.Context, transport.Topic, []*bus.Message) error {
	b.sends++
	return b.err
}

func TestBreakerSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away broker
		b := middleware.NewBreaker(middleware.BreakerOptions{Name: "redis", Failures: 2})
		send := func(ctx context.Context) error { return b.Send(away.send)(ctx, transport.Topic{Name: "t"}, nil) }
		unknown := &bus.PublishError{Topic: "t", Err: bus.ErrPublishUnknown}
		away.err = unknown
		require.Equal(t, error(unknown), send(t.Context()))
		err := send(t.Context())
		var kept *bus.PublishError
		require.ErrorAs(t, err, &kept, "the publisher sees what became of its events")
		assert.Same(t, unknown, kept)
		pausedFor(t, err)

		err = send(t.Context())
		pausedFor(t, err)
		assert.Equal(t, 2, away.sends)
		assert.EqualError(t, err, "middleware: the breaker of redis is open: nothing is tried for another 10s")
		pausedFor(t, fmt.Errorf("handler: %w", err))

		time.Sleep(11 * time.Second)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		away.err = gone.Err()
		require.ErrorIs(t, send(gone), context.Canceled)
		assert.Equal(t, "half-open", b.State(), "a caller that gives up says nothing")
		away.err = nil
		require.NoError(t, send(t.Context()))
		assert.Equal(t, "closed", b.State())
	})
}

// TestBreakerAroundBoth: a handler that is the probe may publish through the same breaker.
func TestBreakerAroundBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away broker
		p := newPager(middleware.BreakerOptions{Failures: 2})
		send := p.Send(away.send)
		p.answer = func(ctx context.Context) error { return send(ctx, transport.Topic{Name: "t"}, nil) }
		away.err = errPager
		pausedFor(t, p.page(t.Context())) // counted by both
		require.Equal(t, "open", p.State())
		time.Sleep(11 * time.Second)
		pausedFor(t, p.page(t.Context()))
		require.Equal(t, "open", p.State(), "the probe failed")
		time.Sleep(11 * time.Second)
		away.err = nil
		require.NoError(t, p.page(t.Context()))
		assert.Equal(t, "closed", p.State())
		assert.Equal(t, 3, away.sends)
	})
}

// TestBreakerRefusesInsideItself: what the breaker says itself does not count once more.
func TestBreakerRefusesInsideItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away broker
		p := newPager(middleware.BreakerOptions{Failures: 1})
		send := p.Send(away.send)
		p.answer = func(ctx context.Context) error {
			away.err = errPager
			_ = send(context.WithoutCancel(ctx), transport.Topic{}, nil) // opens
			return fmt.Errorf("handler: %w", send(ctx, transport.Topic{}, nil))
		}
		assert.Equal(t, 10*time.Second, pausedFor(t, p.page(t.Context())).Truncate(time.Microsecond))
		assert.Equal(t, "open", p.State())
		assert.Equal(t, 1, away.sends)
	})
}

func TestBreakerExplains(t *testing.T) {
	b := middleware.NewBreaker(middleware.BreakerOptions{Name: "pager"})
	says := b.Handle(nil)(nil, nil)
	assert.EqualError(t, says, "middleware.Breaker")
}

func TestBreakerIsForManyAtOnce(t *testing.T) {
	p := middleware.NewBreaker(middleware.BreakerOptions{Failures: 3, Open: 50 * time.Microsecond, Probes: 2})
	h := p.Handle(func(ctx context.Context, d *bus.Delivery) error {
		if len(d.ID)%2 == 0 {
			return errPager
		}
		return nil
	})
	var wg sync.WaitGroup
	for id := range slices.Values([]string{"1", "22", "333", "4444", "55555", "666666", "7", "88"}) {
		wg.Go(func() {
			for range 2000 {
				if err := h(t.Context(), lone("pages", id)); err != nil && !errors.Is(err, errPager) {
					assert.ErrorIs(t, err, middleware.ErrOpen)
				}
				_ = p.State()
			}
		})
	}
	wg.Wait()
}

func BenchmarkBreaker(b *testing.B) {
	h := middleware.NewBreaker(middleware.BreakerOptions{}).Handle(func(context.Context, *bus.Delivery) error { return nil })
	d, ctx := lone("pages", "1"), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if err := h(ctx, d); err != nil {
			b.Fatal(err)
		}
	}
}

// TestBreakerAnIsFailureThatPanicsKeepsNoPlace: a probe that kept its place would leave the breaker half open for ever.
func TestBreakerAnIsFailureThatPanicsKeepsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sick := false
		p := newPager(middleware.BreakerOptions{Open: time.Minute, IsFailure: func(error) bool {
			if sick {
				panic("oops")
			}
			return true
		}})
		p.trip(t)
		sick = true
		time.Sleep(2 * time.Minute)
		assert.PanicsWithValue(t, "oops", func() { _ = p.page(t.Context()) })
		assert.Equal(t, "open", p.State(), "it counts as a failure")
		p.fails(nil)
		time.Sleep(2 * time.Minute)
		require.NoError(t, p.page(t.Context()))
		assert.Equal(t, "closed", p.State())
	})
}

// TestStagingIsNoSending: a broker that is away says nothing to who only stages, and staging says nothing of the broker.
func TestStagingIsNoSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		t.Cleanup(func() { tr.Close() })
		breaker := middleware.NewBreaker(middleware.BreakerOptions{Failures: 1, Open: time.Hour})
		failing := func(context.Context, transport.Topic, []*bus.Message) error { return errJob }
		require.Error(t, breaker.Send(failing)(t.Context(), transport.Topic{Name: "results"}, nil))
		require.Equal(t, "open", breaker.State())
		b := bus.New(tr, bus.Logger(nil), bus.UseSend(breaker.Send))
		jobs.Subscribe(b, "workers", func(ctx context.Context, e *bus.Event[string]) error {
			require.NoError(t, results.Publish(ctx, e, "staged"))
			return results.Publish(ctx, b, "sent")
		})
		bustest.Start(t, b)
		require.NoError(t, tr.Publish(t.Context(), transport.Topic{Name: "jobs"}, []*bus.Message{{ID: "1", ContentType: "application/json", Body: []byte(`"x"`)}}))
		synctest.Wait()
		st, err := b.Stats(t.Context())
		require.NoError(t, err)
		assert.True(t, st.Subscriptions[0].Paused, "who sends is told that it is open")
		assert.Equal(t, "open", breaker.State(), "what was staged closed nothing")
	})
}
