package bus_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

type named struct{}

func (*named) Handle(next bus.Handler) bus.Handler { return next }

func plain(next bus.Handler) bus.Handler { return next }

func generic[T any]() bus.Middleware { return func(next bus.Handler) bus.Handler { return next } }

func TestExplainNamesMiddleware(t *testing.T) {
	tr := memory.New()
	t.Cleanup(func() { tr.Close() })
	var applied int
	counting := func(next bus.Handler) bus.Handler {
		applied++
		return next
	}
	b := bus.New(tr, bus.Use(plain, (&named{}).Handle, generic[int](), counting,
		bus.Describe(bus.Layer{Name: "a.Route", Route: true}, plain), bus.Describe(bus.Layer{Name: "b", Knobs: "3 tries"}, counting)))
	orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error { return nil })
	applied = 0
	text := b.Explain()
	assert.Zero(t, applied, "asking changes nothing and applies nothing")
	for _, line := range []string{" bus_test.plain\n", " bus_test.named.Handle\n", "generic\n", " bus_test.TestExplainNamesMiddleware\n",
		" a.Route\n", " b: 3 tries\n", "dead letters  by a.Route; kept: the newest 1000000 letters\n"} {
		assert.Contains(t, text, line)
	}
}

func TestADescribedMiddlewareWorks(t *testing.T) {
	called := 0
	mw := bus.Describe(bus.Layer{Name: "counting"}, func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			called++
			return next(ctx, d)
		}
	})
	assert.Equal(t, errCard, mw(func(context.Context, *bus.Delivery) error { return errCard })(t.Context(), nil))
	assert.Equal(t, 1, called)
}

func TestExplainTellsOptionsAndMistakes(t *testing.T) {
	tr := memory.New()
	t.Cleanup(func() { tr.Close() })
	h := func(context.Context, *bus.Event[Order]) error { return nil }
	b := bus.New(tr)
	hard := bus.NewTopic("hard", codec.MsgPack[Order](), bus.Retain(transport.Retention{MaxLen: 5, MaxAge: time.Hour, Hard: true}))
	hard.Subscribe(b, "late", h, bus.Start(bus.Latest), bus.Prefetch(3), bus.MaxProcessing(time.Second), bus.Lease(time.Minute),
		bus.Redeliver(bus.Backoff{NoJitter: true}), bus.RetainLetters(transport.LetterBound{MaxLen: -1}))
	aged := bus.NewTopic("aged", codec.Bytes(), bus.Retain(transport.Retention{MaxAge: time.Hour}))
	aged.Subscribe(b, "from", func(context.Context, *bus.Event[[]byte]) error { return nil }, bus.Start(bus.From("5-1")))
	aged.Subscribe(b, "since", func(context.Context, *bus.Event[[]byte]) error { return nil },
		bus.Start(bus.At(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))))
	sure := bus.NewTopic("sure", codec.Bytes(), bus.Retain(transport.Retention{MaxLen: 7, AbandonAfter: 24 * time.Hour}),
		bus.Dedup(10*time.Minute), bus.Durable(1, time.Second))
	disk := bus.NewTopic("disk", codec.Bytes(), bus.DurableOnDisk(0, 3*time.Second))
	disk.Subscribe(b, "all", func(context.Context, *bus.Event[[]byte]) error { return nil })
	sure.Subscribe(b, "all", func(context.Context, *bus.Event[[]byte]) error { return nil })
	orders.Subscribe(b, "billing", nil)
	text := b.Explain()
	for _, part := range []string{
		"hard, kept, handled or not: the newest 5 events of the last 1h0m0s", "begins at the latest event, lease 1m0s", "application/msgpack",
		"prefetching 3, each at most 1s", "5m0s, no jitter", "kept: all letters", "events of the last 1h0m0s", "position 5-1",
		"the newest 7 events; a group that nobody reads for 24h0m0s is not waited for",
		"  published     each id once within 10m0s, on 1 replica, waiting 1s for that\n",
		"  published     on disk, waiting 3s for that\n",
		"begins at 2026-01-02T03:04:05Z", "mistake       bus: subscribe orders.placed/billing: nil handler",
	} {
		assert.Contains(t, text, part)
	}
	assert.Equal(t, 5, strings.Count(text, "\n\n"), "a blank line between subscriptions")
}

func TestADescribedNilIsReportedByRun(t *testing.T) {
	b := bus.New(memory.New(), quiet, bus.Use(bus.Describe(bus.Layer{Name: "nothing"}, nil)))
	orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	assert.ErrorContains(t, b.Run(ctx), "middleware 1 of 1 is nil")
}
