package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// TestNoOrderLosesAnEvent runs every order of the standard chain against handlers that fail, panic, end their goroutine, hang
// and return every verdict. In each order each event ends handled, or in the dead letters, and what handlers published
// through their events is stored once for each event that was handled.
func TestNoOrderLosesAnEvent(t *testing.T) {
	orders := slices.Collect(permutations(len(layers)))
	if testing.Short() {
		orders = slices.Collect(everyNth(orders, 97))
	}
	const parts = 8 // run side by side
	for part := range parts {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			for i := part; i < len(orders); i += parts {
				synctest.Test(t, func(t *testing.T) { runOrder(t, orders[i]) })
				if t.Failed() {
					t.Fatalf("the order is %s", names(orders[i]))
				}
			}
		})
	}
}

// layers are those of Standard; each run makes its own.
var layers = []struct {
	name string
	make func() bus.Middleware
}{
	{"Log", func() bus.Middleware { return middleware.Log(slog.New(slog.DiscardHandler)) }},
	{"Route", func() bus.Middleware { return dlq.Route(dlq.RouteOptions{MaxAttempts: 3}) }},
	{"Idempotent", func() bus.Middleware {
		return middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{Logger: slog.New(slog.DiscardHandler)})
	}},
	{"Breaker", func() bus.Middleware { return middleware.NewBreaker(middleware.BreakerOptions{}).Handle }},
	{"Retry", func() bus.Middleware { return middleware.Retry(middleware.RetryOptions{Tries: 2}) }},
	{"Timeout", func() bus.Middleware { return middleware.Timeout(time.Minute, slog.New(slog.DiscardHandler)) }},
	{"Recover", middleware.Recover},
}

func names(order []int) string {
	var s []string
	for _, i := range order {
		s = append(s, layers[i].name)
	}
	return strings.Join(s, " > ")
}

// permutations yields the orders of n things (Heap's algorithm).
func permutations(n int) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		p := make([]int, n)
		for i := range p {
			p[i] = i
		}
		var from func(k int) bool
		from = func(k int) bool {
			if k <= 1 {
				return yield(slices.Clone(p))
			}
			for i := range k {
				if !from(k - 1) {
					return false
				}
				if k%2 == 0 {
					p[i], p[k-1] = p[k-1], p[i]
				} else {
					p[0], p[k-1] = p[k-1], p[0]
				}
			}
			return true
		}
		from(n)
	}
}

func everyNth[T any](xs []T, n int) iter.Seq[T] {
	return func(yield func(T) bool) {
		for i := 0; i < len(xs) && yield(xs[i]); i += n {
		}
	}
}

var (
	jobs    = bus.NewTopic("jobs", codec.JSON[string]())
	results = bus.NewTopic("results", codec.JSON[string]())
	errJob  = errors.New("job failed")
)

// A behaviour is what a handler does with its nth try of an event, n from 1.
type behaviour func(ctx context.Context, n int) error

// once does what is wrong at the first try only.
func once(wrong func(context.Context) error) behaviour {
	return func(ctx context.Context, n int) error {
		if n == 1 {
			return wrong(ctx)
		}
		return nil
	}
}

func returns(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

func hang(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

var behaviours = map[string]behaviour{
	"well":              func(context.Context, int) error { return nil },
	"fails once":        once(returns(errJob)),
	"fails always":      func(context.Context, int) error { return errJob },
	"panics once":       once(func(context.Context) error { panic("boom") }),
	"panics always":     func(context.Context, int) error { panic("boom") },
	"goexit once":       once(func(context.Context) error { runtime.Goexit(); return nil }),
	"hangs once":        once(hang),
	"hangs always":      func(ctx context.Context, _ int) error { return hang(ctx) },
	"is slow":           once(func(context.Context) error { time.Sleep(90 * time.Second); return nil }),
	"is slow, fails":    once(func(context.Context) error { time.Sleep(90 * time.Second); return errJob }),
	"snoozes":           once(returns(bus.Snooze(time.Second, errJob))),
	"pauses":            once(returns(bus.Pause(time.Second, errJob))),
	"permanent":         once(returns(bus.Permanent(errJob))),
	"permanent, quoted": once(returns(fmt.Errorf("%v", bus.Permanent(errJob)))),
	"dead letter":       once(returns(bus.DeadLetter("rejected", errJob))),
	"joined":            once(returns(errors.Join(errJob, bus.Snooze(time.Second, nil)))),
}

// endsDead are those that the handler never ends well.
var endsDead = []string{"fails always", "panics always", "hangs always", "permanent", "dead letter", "undecodable"}

// worker is the handler; it counts what it did.
type worker struct {
	mu    sync.Mutex
	tries map[string]int
	well  map[string]int
}

func (w *worker) handle(ctx context.Context, e *bus.Event[string]) error {
	w.mu.Lock()
	w.tries[e.ID]++
	n := w.tries[e.ID]
	w.mu.Unlock()
	name, _, _ := strings.Cut(e.Payload, "/")
	// Before it knows whether it will end well, as handlers do.
	if err := results.Publish(ctx, e, e.ID); err != nil {
		return err
	}
	if err := behaviours[name](ctx, n); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.well[e.ID]++
	return nil
}

// runOrder runs all behaviours through one order of the chain.
func runOrder(t *testing.T, order []int) {
	tr := memory.New()
	t.Cleanup(func() { tr.Close() })
	var chain []bus.Middleware
	for _, i := range order {
		chain = append(chain, layers[i].make())
	}
	b := bus.New(tr, bus.Logger(nil))
	w := &worker{tries: make(map[string]int), well: make(map[string]int)}
	outputs := make(map[string]int)
	jobs.Subscribe(b, "workers", w.handle, bus.Use(chain...), bus.MaxProcessing(10*time.Minute))
	results.Subscribe(b, "outputs", func(_ context.Context, e *bus.Event[string]) error {
		outputs[e.Payload]++
		return nil
	}, bus.Concurrency(1))
	stop := bustest.Start(t, b)
	ids := publishJobs(t, b)
	settleWithTraffic(t, b)
	stop()

	dead := lettersByID(t, tr)
	for name, id := range ids {
		handled := w.well[id]
		assert.Equal(t, 1, handled+dead[id], "%s: handled %d, letters %d", name, handled, dead[id])
		assert.Equal(t, handled, outputs[id], "%s: outputs", name)
		assert.Equal(t, slices.Contains(endsDead, name), dead[id] == 1, "%s: dead", name)
	}
}

func publishJobs(t *testing.T, b *bus.Bus) (ids map[string]string) {
	ids = map[string]string{"undecodable": "undecodable"}
	for name := range behaviours {
		ids[name] = name
		require.NoError(t, jobs.Publish(t.Context(), b, name, bus.ID(name)))
	}
	bad := &bus.Message{ID: "undecodable", ContentType: "application/json", Body: []byte(`{`)}
	require.NoError(t, b.Send(t.Context(), transport.Topic{Name: jobs.Name()}, bad))
	return ids
}

// settleWithTraffic waits until nothing is left. Now and then an event comes that is handled well, as in life: a breaker cannot
// tell one event that always fails from an outage while no other event succeeds.
func settleWithTraffic(t *testing.T, b *bus.Bus) {
	for i := range 10_000 {
		time.Sleep(time.Minute)
		synctest.Wait()
		st, err := b.Stats(t.Context())
		require.NoError(t, err)
		if left(st) == 0 {
			return
		}
		require.NoError(t, jobs.Publish(t.Context(), b, fmt.Sprint("well/", i)))
	}
	t.Fatal("after a week some events are neither handled nor dead")
}

func left(st bus.Stats) (n int64) {
	for _, s := range st.Subscriptions {
		n += s.Lag.Undelivered + s.Lag.Pending + s.Lag.Waiting + int64(s.Running+s.Queued)
	}
	return n
}

func lettersByID(t *testing.T, tr *memory.Transport) map[string]int {
	letters, err := tr.Letters(t.Context(), transport.Topic{Name: jobs.Name()}, "workers", "", 1000)
	require.NoError(t, err)
	n := make(map[string]int)
	for _, l := range letters {
		n[l.ID]++
	}
	return n
}
