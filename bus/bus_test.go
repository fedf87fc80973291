package bus_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type Order struct {
	ID    string
	Cents int
}

var (
	orders   = bus.NewTopic("orders.placed", codec.JSON[Order]()).KeyedBy(func(o Order) string { return o.ID })
	invoices = bus.NewTopic("invoices.issued", codec.JSON[Order]())
)

var quiet = bus.Logger(slog.New(slog.NewTextHandler(io.Discard, nil)))

// lines is a log that a test can read.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) logger() bus.Option {
	return bus.Logger(slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

// bubble runs a test on virtual time with a memory transport.
func bubble(t *testing.T, f func(t *testing.T, tr *memory.Transport)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		t.Cleanup(func() { assert.NoError(t, tr.Close()) })
		f(t, tr)
	})
}

func publish(t *testing.T, b *bus.Bus, ids ...string) {
	t.Helper()
	for _, id := range ids {
		require.NoError(t, orders.Publish(t.Context(), b, Order{ID: id}))
	}
}

func TestEveryGroupGetsEveryEvent(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr)
		var billing, shipping seen
		orders.Subscribe(b, "billing", billing.handle)
		orders.Subscribe(b, "shipping", shipping.handle)
		publish(t, b, "1", "2")
		bustest.Start(t, b)
		publish(t, b, "3")
		bustest.Settle(t, b)
		assert.ElementsMatch(t, []string{"1", "2", "3"}, billing.ids())
		assert.ElementsMatch(t, []string{"1", "2", "3"}, shipping.ids())
	})
}

// seen is a handler that remembers.
type seen struct {
	mu     sync.Mutex
	events []bus.Event[Order]
}

func (s *seen) handle(_ context.Context, e *bus.Event[Order]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, *e)
	return nil
}

func (s *seen) all() []bus.Event[Order] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]bus.Event[Order](nil), s.events...)
}

func (s *seen) ids() (ids []string) {
	for _, e := range s.all() {
		ids = append(ids, e.Payload.ID)
	}
	return ids
}

func TestWhatPublishSetsIsWhatTheHandlerGets(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr)
		var got seen
		orders.Subscribe(b, "billing", got.handle, bus.Concurrency(1))
		bustest.Start(t, b)
		require.NoError(t, orders.Publish(t.Context(), b, Order{ID: "7", Cents: 5}))
		require.NoError(t, orders.Publish(t.Context(), b, Order{ID: "8"}, bus.ID("order-8"), bus.Key("vip"), bus.Header("tenant", "acme")))
		bustest.Settle(t, b)
		es := got.all()
		require.Len(t, es, 2)
		assert.Equal(t, Order{ID: "7", Cents: 5}, es[0].Payload)
		assert.Equal(t, "7", es[0].Key, "KeyedBy")
		assert.Len(t, es[0].ID, 36, "a UUID")
		assert.Equal(t, "application/json", es[0].ContentType)
		assert.Equal(t, 1, es[0].Attempt)
		assert.Equal(t, "orders.placed", es[0].Topic)
		assert.Equal(t, "billing", es[0].Group)
		assert.Equal(t, "order-8", es[1].ID)
		assert.Equal(t, "vip", es[1].Key)
		assert.Equal(t, "acme", es[1].Headers.Get("tenant"))
	})
}

func TestPublishAllKeepsTheOrder(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr)
		var got seen
		orders.Subscribe(b, "billing", got.handle, bus.Concurrency(1))
		bustest.Start(t, b)
		require.NoError(t, orders.PublishAll(t.Context(), b, []Order{{ID: "1"}, {ID: "2"}, {ID: "3"}}))
		require.NoError(t, orders.PublishAll(t.Context(), b, nil), "nothing is no error")
		bustest.Settle(t, b)
		assert.Equal(t, []string{"1", "2", "3"}, got.ids())
	})
}

func TestDelayedEventsAreNeverEarly(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr)
		var begin time.Time
		at := make(chan time.Duration, 2)
		orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error {
			at <- time.Since(begin)
			return nil
		})
		bustest.Start(t, b)
		begin = time.Now()
		require.NoError(t, orders.Publish(t.Context(), b, Order{}, bus.Delay(time.Hour)))
		require.NoError(t, orders.Publish(t.Context(), b, Order{}, bus.At(begin.Add(2*time.Hour))))
		assert.Equal(t, time.Hour, <-at)
		assert.Equal(t, 2*time.Hour, <-at)
	})
}

func TestPublishMistakes(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr)
		small := bus.NewTopic("small", codec.JSON[Order](), bus.MaxBytes(20))
		closed := memory.New()
		require.NoError(t, closed.Close())
		for name, c := range map[string]struct {
			err  error
			says string
		}{
			"bad topic name": {bus.NewTopic("or ders", codec.JSON[Order]()).Publish(t.Context(), b, Order{}), `bad topic name "or ders"`},
			"no codec":       {bus.NewTopic[Order]("orders", nil).Publish(t.Context(), b, Order{}), "no codec"},
			"nil publisher":  {orders.Publish(t.Context(), nil, Order{}), "nil publisher"},
			"bad id":         {orders.Publish(t.Context(), b, Order{}, bus.ID("a\nb")), "bad id"},
			"bad header":     {orders.Publish(t.Context(), b, Order{}, bus.Header("a b", "")), "bad header name"},
			"one id for all": {orders.PublishAll(t.Context(), b, make([]Order, 2), bus.ID("x")), "same id"},
			"too large":      {small.Publish(t.Context(), b, Order{ID: "12345678901234567890"}), "the topic allows 20"},
			"zero topic":     {new(bus.Topic[Order]).Publish(t.Context(), b, Order{}), "a topic that NewTopic did not make"},
			"zero event":     {orders.Publish(t.Context(), new(bus.Event[Order]), Order{}), "not being handled"},
			"nil bus":        {orders.Publish(t.Context(), (*bus.Bus)(nil), Order{}), "nil bus"},
			"bad limit":      {bus.NewTopic("x", codec.JSON[Order](), bus.MaxBytes(0)).Publish(t.Context(), b, Order{}), "MaxBytes(0)"},
			"nil transport":  {orders.Publish(t.Context(), bus.New(nil), Order{}), "nil transport"},
			"closed":         {orders.Publish(t.Context(), bus.New(closed), Order{}), "close the transport after the last publish"},
		} {
			assert.ErrorContains(t, c.err, c.says, name)
			assert.ErrorContains(t, c.err, "bus: ", name)
		}
		assert.ErrorIs(t, small.Publish(t.Context(), b, Order{ID: "12345678901234567890"}), bus.ErrTooLarge)
		assert.ErrorIs(t, orders.Publish(t.Context(), bus.New(closed), Order{}), bus.ErrClosed)
	})
}

func TestRunReportsEveryMistakeAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, bus.Grace(-1), nil, bus.UseSend(nil))
		ok := func(context.Context, *bus.Event[Order]) error { return nil }
		orders.Subscribe(b, "no handler", nil)
		orders.Subscribe(b, "billing", ok)
		twice := orders.Subscribe(b, "billing", ok)
		orders.Subscribe(b, "idle", ok, bus.Concurrency(0), bus.Lease(time.Millisecond), bus.Prefetch(-1), bus.MaxProcessing(0), bus.Start(nil))
		orders.Subscribe(b, "wrapped", bus.Wrap[Order](nil), nil, bus.Use(nil), bus.Redeliver(bus.Backoff{Min: time.Hour, Max: time.Minute}))
		orders.Subscribe(b, "batched", bus.Batched[Order](10, 0, nil), bus.Start(bus.From("")))
		orders.Subscribe(b, "zero time", ok, bus.Start(bus.At(time.Time{})))
		bus.NewTopic("!", codec.JSON[Order]()).Subscribe(b, "x", ok)
		err := b.Run(t.Context())
		for _, says := range []string{
			"Grace(-1ns)", `bad group name "no handler"`, "nil handler", "has that subscription already", "Concurrency(0)", "Lease(1ms)",
			"Prefetch(-1)", "MaxProcessing(0s)", "Start(nil)", `bad topic name "!"`, "orders.placed/wrapped: Use: middleware", "middleware 1 of 1 is nil",
			"Max not below Min", `orders.placed/batched: Start(From("")): use Earliest if the beginning is meant; nil handler`, `Start(From(""))`, "Start(At(zero time))", "UseSend: middleware 1 of 1 is nil",
		} {
			assert.ErrorContains(t, err, says)
		}
		assert.ErrorContains(t, twice.Err(), "orders.placed/billing")
		assert.ErrorIs(t, b.Ready(), bus.ErrNotRunning)
	})
}

func TestABusRunsOnce(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr)
		bustest.Start(t, b)()
		assert.ErrorContains(t, b.Run(t.Context()), "Run was called before")
		sub := orders.Subscribe(b, "late", new(seen).handle)
		assert.ErrorContains(t, sub.Err(), "Run has returned")
	})
}

func TestClosingTheTransportUnderABusEndsRun(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		orders.Subscribe(b, "billing", new(seen).handle)
		ended := make(chan error)
		go func() { ended <- b.Run(t.Context()) }()
		synctest.Wait()
		require.NoError(t, tr.Close())
		err := <-ended
		assert.ErrorIs(t, err, bus.ErrClosed)
		assert.ErrorContains(t, err, "close the transport after Run has returned")
	})
}

func TestSubscribeAndStopWhileRunning(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		bustest.Start(t, b)
		var first, second seen
		sub := orders.Subscribe(b, "billing", first.handle)
		publish(t, b, "1")
		synctest.Wait()
		assert.Equal(t, []string{"1"}, first.ids())

		require.NoError(t, sub.Stop(t.Context()))
		require.NoError(t, sub.Stop(t.Context()), "twice is no error")
		publish(t, b, "2")
		synctest.Wait()
		assert.Equal(t, []string{"1"}, first.ids(), "a stopped subscription receives nothing")

		orders.Subscribe(b, "billing", second.handle)
		synctest.Wait()
		assert.Equal(t, []string{"2"}, second.ids(), "the group kept its place")
		assert.ErrorContains(t, orders.Subscribe(b, "billing", second.handle).Err(), "already")
	})
}

func TestStopBeforeRun(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr)
		require.NoError(t, orders.Subscribe(b, "billing", new(seen).handle).Stop(t.Context()))
		bustest.Start(t, b)
		st, err := b.Stats(t.Context())
		require.NoError(t, err)
		assert.Empty(t, st.Subscriptions)
	})
}

func TestPauseAndResume(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr)
		var got seen
		sub := orders.Subscribe(b, "billing", got.handle)
		bustest.Start(t, b)
		sub.Pause()
		publish(t, b, "1")
		synctest.Wait()
		assert.Empty(t, got.ids())
		st, _ := b.Stats(t.Context())
		assert.True(t, st.Subscriptions[0].Paused)
		sub.Resume()
		synctest.Wait()
		assert.Equal(t, []string{"1"}, got.ids())
		assert.Equal(t, "billing", sub.Group())
		assert.Equal(t, orders, sub.Topic())
	})
}

func TestMiddlewareOrder(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		var order []string
		tag := func(name string) bus.Middleware {
			return func(next bus.Handler) bus.Handler {
				return func(ctx context.Context, d *bus.Delivery) error {
					order = append(order, name)
					return next(ctx, d)
				}
			}
		}
		typed := func(name string) bus.MiddlewareOf[Order] {
			return func(next bus.HandlerOf[Order]) bus.HandlerOf[Order] {
				return func(ctx context.Context, e *bus.Event[Order]) error {
					order = append(order, name)
					return next(ctx, e)
				}
			}
		}
		send := func(name string) bus.SendMiddleware {
			return func(next bus.Sender) bus.Sender {
				return func(ctx context.Context, tt transport.Topic, ms []*bus.Message) error {
					order = append(order, name)
					return next(ctx, tt, ms)
				}
			}
		}
		b := bus.New(tr, bus.Use(tag("bus1"), tag("bus2")), bus.UseSend(send("send1"), send("send2")))
		orders.Subscribe(b, "billing", bus.Wrap(func(ctx context.Context, e *bus.Event[Order]) error {
			order = append(order, "handler")
			return invoices.Publish(ctx, e, e.Payload)
		}, typed("wrap1"), typed("wrap2")), bus.Use(tag("own")))
		publish(t, b, "1")
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.Equal(t, []string{"send1", "send2", "bus1", "bus2", "own", "wrap1", "wrap2", "handler", "send1", "send2"}, order)
	})
}

func TestStatsAndReady(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		block := make(chan struct{})
		orders.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
			<-block
			if e.Attempt == 1 && e.Payload.ID == "bad" {
				return errors.New("no")
			}
			return nil
		}, bus.Concurrency(2), bus.Prefetch(1), bus.Redeliver(bus.Backoff{Min: time.Hour, NoJitter: true}))
		bustest.Start(t, b)
		publish(t, b, "bad", "2", "3", "4", "5")
		synctest.Wait()
		require.NoError(t, b.Ready())
		st, err := b.Stats(t.Context())
		require.NoError(t, err)
		s := st.Subscriptions[0]
		assert.Equal(t, 2, s.Running)
		assert.Equal(t, 1, s.Queued)
		assert.Equal(t, int64(3), s.Lag.Pending)
		assert.Equal(t, int64(2), s.Lag.Undelivered)
		close(block)
		synctest.Wait()
		st, _ = b.Stats(t.Context())
		s = st.Subscriptions[0]
		assert.Equal(t, bus.Counts{Done: 4, Failed: 1}, s.Counts)
		assert.Equal(t, int64(1), s.Lag.Waiting)
		bustest.Settle(t, b)
	})
}
