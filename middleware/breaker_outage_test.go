package middleware_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
	"github.com/typedbus/typedbus/transport/redisstream"
)

var quakes = bus.NewTopic("quakes", codec.JSON[int]())

// dependency is what the handlers of an outage test call. It is down until up.
type dependency struct {
	up   time.Time
	took time.Duration

	mu      sync.Mutex
	calls   int // while it was down
	attempt int // the highest seen
	handled map[int]int
}

// call waits like a request does.
func (d *dependency) call(ctx context.Context, e *bus.Event[int]) error {
	select {
	case <-time.After(d.took):
	case <-ctx.Done():
		return ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attempt = max(d.attempt, e.Attempt)
	if time.Now().Before(d.up) {
		d.calls++
		return errPager
	}
	d.handled[e.Payload]++
	return nil
}

const (
	breakers = 2  // each in a process of its own
	slots    = 16 // of each subscription
)

// outage has two consumers of a group, each with a breaker, live through it, and returns what their buses have counted.
func (d *dependency) outage(t *testing.T, events int, trs [breakers]transport.Transport, o middleware.BreakerOptions) (c bus.Counts) {
	t.Helper()
	d.handled = make(map[int]int, events)
	var buses [breakers]*bus.Bus
	for i, tr := range trs {
		buses[i] = bus.New(tr, bus.Logger(nil), bus.Use(middleware.NewBreaker(o).Handle))
		quakes.Subscribe(buses[i], "alarm", d.call, bus.Concurrency(slots))
	}
	ns := make([]int, events)
	for i := range ns {
		ns[i] = i
	}
	require.NoError(t, quakes.PublishAll(t.Context(), buses[0], ns))
	for _, b := range buses {
		stop := bustest.Start(t, b)
		defer stop()
	}
	for _, b := range buses {
		bustest.Settle(t, b)
	}
	for _, b := range buses {
		st, err := b.Stats(t.Context())
		require.NoError(t, err)
		s := st.Subscriptions[0]
		c.Done, c.Failed, c.Deferred, c.Dead = c.Done+s.Done, c.Failed+s.Failed, c.Deferred+s.Deferred, c.Dead+s.Dead
	}
	return c
}

// verify checks what an outage may cost. opened is how often a breaker can have opened or probed.
func (d *dependency) verify(t *testing.T, events int, c bus.Counts, opened int) {
	t.Helper()
	assert.Len(t, d.handled, events, "all are handled at the end")
	assert.EqualValues(t, events, c.Done)
	assert.Zero(t, c.Dead)
	assert.LessOrEqual(t, c.Failed, uint64(breakers*4), "only the failures before a breaker opened count an attempt")
	assert.LessOrEqual(t, d.attempt, 5)
	assert.LessOrEqual(t, d.calls, breakers*(4+slots+opened), "the dependency sees what ran when it went down, and the probes")
	t.Logf("%d events: %d calls while it was down, %d attempts lost, highest attempt %d, %d times put back", events, d.calls, c.Failed, d.attempt, c.Deferred)
}

func TestBreakerOutageInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events, lasts = 100_000, 10 * time.Minute
		tr := memory.New()
		defer tr.Close()
		peer := tr.Peer()
		defer peer.Close()
		d := dependency{up: time.Now().Add(lasts), took: 20 * time.Millisecond}
		c := d.outage(t, events, [breakers]transport.Transport{tr, peer}, middleware.BreakerOptions{})
		d.verify(t, events, c, int(lasts/(10*time.Second)))
	})
}

func TestBreakerOutageOnRedis(t *testing.T) {
	const events, lasts, open = 2000, 3 * time.Second, 200 * time.Millisecond
	s := redistest.Start(t)
	var trs [breakers]transport.Transport
	for i := range trs {
		tr, err := redisstream.Open(t.Context(), s.URL, redisstream.Options{})
		require.NoError(t, err)
		t.Cleanup(func() { tr.Close() })
		trs[i] = tr
	}
	d := dependency{up: time.Now().Add(lasts), took: time.Millisecond}
	c := d.outage(t, events, trs, middleware.BreakerOptions{Open: open})
	d.verify(t, events, c, int(lasts/open))
}

// TestBreakerEndsWhatAlwaysFails: whatever fails for ever, alone or among others, runs out of attempts in the end, and what does
// not is handled once. No event waits for ever because a breaker takes another's fault for an outage.
func TestBreakerEndsWhatAlwaysFails(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := middleware.BreakerOptions{Failures: rapid.IntRange(1, 6).Draw(rt, "failures"), Probes: rapid.IntRange(1, 3).Draw(rt, "probes")}
		poison := rapid.SliceOfN(rapid.Bool(), 1, 40).Draw(rt, "poison")
		concurrency := rapid.IntRange(1, 8).Draw(rt, "concurrency")
		synctest.Test(t, func(t *testing.T) { endsWhatAlwaysFails(t, rt, o, poison, concurrency) })
	})
}

func endsWhatAlwaysFails(t *testing.T, rt *rapid.T, o middleware.BreakerOptions, poison []bool, concurrency int) {
	tr := memory.New()
	defer tr.Close()
	var mu sync.Mutex
	ended := map[int]string{}
	end := func(n int, how string) {
		mu.Lock()
		defer mu.Unlock()
		ended[n] += how
	}
	lastAttempt := func(next bus.Handler) bus.Handler { // as a dead-letter route does
		return func(ctx context.Context, d *bus.Delivery) error {
			err := next(ctx, d)
			if bus.VerdictOf(err).Kind == bus.Failed && d.Attempt >= 5 {
				n, _ := quakes.Decode(d.Message)
				end(n, "dead")
				return bus.DeadLetter("exhausted", fmt.Errorf("%v", err))
			}
			return err
		}
	}
	b := bus.New(tr, bus.Logger(nil), bus.Use(lastAttempt, middleware.NewBreaker(o).Handle))
	quakes.Subscribe(b, "alarm", func(_ context.Context, e *bus.Event[int]) error {
		time.Sleep(time.Millisecond)
		if poison[e.Payload] {
			return errPager
		}
		end(e.Payload, "done")
		return nil
	}, bus.Concurrency(concurrency))
	stop := bustest.Start(t, b)
	for n := range poison {
		require.NoError(t, quakes.Publish(t.Context(), b, n))
	}
	bustest.Settle(t, b)
	stop()
	for n, bad := range poison {
		want := map[bool]string{true: "dead", false: "done"}[bad]
		assert.Equal(rt, want, ended[n], "event %d", n)
	}
}
