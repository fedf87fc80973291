package rivals_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/typedbus/typedbus/bench/contest"
	"github.com/typedbus/typedbus/bench/rivals"
	"github.com/typedbus/typedbus/internal/redistest"
)

const (
	publishers = 8
	events     = 200
)

func TestEveryRivalHandlesAllThatIsPublished(t *testing.T) {
	for _, r := range rivals.All() {
		t.Run(r.Name, func(t *testing.T) { keepsTheContract(t, r, contest.Setup{}) })
		t.Run(r.Name+" with concurrency", func(t *testing.T) { keepsTheContract(t, r, contest.Setup{Concurrency: 4}) })
	}
}

func keepsTheContract(t *testing.T, r contest.Rival, s contest.Setup) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s.Redis, s.Dir, s.Topic, s.Publishers = redistest.Start(t).Addr, t.TempDir(), "contract", publishers
	others := goleak.IgnoreCurrent()

	session, err := r.Open(ctx, s)
	require.NoError(t, err)
	h := newHandler()
	require.NoError(t, session.Consume(ctx, h.handle))
	published := publish(ctx, session)
	<-h.began
	assert.Zero(t, settled(t, session), "nothing is settled while the first handler runs")
	close(h.gate)
	for range publishers {
		require.NoError(t, <-published)
	}
	require.Eventually(t, func() bool {
		n := settled(t, session)
		assert.LessOrEqual(t, n, h.count(), "an event is settled after its handler")
		return n == events
	}, 30*time.Second, 5*time.Millisecond, "all events are settled")
	require.NoError(t, session.Close())

	h.check(t, carriesBytes(r.Name))
	if s.Concurrency > 0 {
		assert.LessOrEqual(t, h.most, s.Concurrency, "handlers at a time")
	}
	// Some of Watermill's goroutines end half a second after it is closed.
	ended := func() bool { return goleak.Find(others) == nil }
	assert.Eventually(t, ended, 10*time.Second, 10*time.Millisecond, "Close leaves no goroutine")
}

// Both lines of the chart of sizes carry bodies of the size it says.
func TestBodiesHaveTheSizeThatIsAskedFor(t *testing.T) {
	for _, name := range []string{"typedbus-bytes", "raw-single"} {
		r, _ := rivals.Named(name)
		addr := redistest.Start(t).Addr
		s, err := r.Open(t.Context(), contest.Setup{Redis: addr, Topic: "sizes", Body: 5000, Publishers: 1})
		require.NoError(t, err)
		require.NoError(t, s.Publish(t.Context(), contest.NewEvent(1)))
		c := redis.NewClient(&redis.Options{Addr: addr})
		entries, err := c.XRange(t.Context(), "sizes", "-", "+").Result()
		require.NoError(t, errors.Join(err, c.Close(), s.Close()))
		require.Len(t, entries, 1)
		assert.Len(t, entries[0].Values["data"], 5000, name)
	}
}

func publish(ctx context.Context, s contest.Session) <-chan error {
	errs := make(chan error, publishers)
	for p := range int64(publishers) {
		go func() {
			for i := p; i < events; i += publishers {
				if err := s.Publish(ctx, contest.NewEvent(i)); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	return errs
}

func settled(t *testing.T, s contest.Session) int {
	n, err := s.Settled(t.Context())
	assert.NoError(t, err)
	return int(n)
}

// carriesBytes says that a rival's handler does not get what was published.
func carriesBytes(name string) bool {
	return name == "raw" || name == "raw-autopipeline" || name == "gochannel" || strings.Contains(name, "bytes")
}

// A handler waits at a gate, and keeps what it was given.
type handler struct {
	gate, began chan struct{}
	first       sync.Once

	mu           sync.Mutex
	active, most int
	handled      []contest.Event
}

func newHandler() *handler { return &handler{gate: make(chan struct{}), began: make(chan struct{})} }

func (h *handler) handle(e *contest.Event) {
	h.mu.Lock()
	h.active++
	h.most = max(h.most, h.active)
	h.mu.Unlock()
	h.first.Do(func() { close(h.began) })
	<-h.gate
	h.mu.Lock()
	h.active--
	got := *e
	got.Placed = got.Placed.UTC() // not every codec keeps the zone
	h.handled = append(h.handled, got)
	h.mu.Unlock()
}

func (h *handler) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.handled)
}

// check compares what was handled with what was published, in any order.
func (h *handler) check(t *testing.T, onlyCount bool) {
	if onlyCount {
		assert.Len(t, h.handled, events)
		return
	}
	var want []contest.Event
	for i := range int64(events) {
		want = append(want, *contest.NewEvent(i))
	}
	assert.ElementsMatch(t, want, h.handled)
}
