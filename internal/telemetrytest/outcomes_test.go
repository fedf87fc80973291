package telemetrytest

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/telemetry"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestDeadLetter(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	orders.Subscribe(r.Bus, "billing", func(context.Context, *bus.Event[note]) error { return bus.DeadLetter("refused", errors.New(inError)) })
	r.run(func() { require.NoError(t, orders.Publish(t.Context(), r, note{})) })
	process, dead := r.one("process orders.placed"), r.one("dead_letter orders.placed")
	require.Equal(t, sdktrace.Status{Code: codes.Error}, process.Status())
	require.Equal(t, "refused", text(process.Attributes())["error.type"], "the reason says more than the type of a mere text")
	require.Equal(t, "dead_lettered", text(process.Attributes())["typedbus.delivery.outcome"])
	require.Equal(t, process.SpanContext().SpanID(), dead.Parent().SpanID())
	require.Equal(t, trace.SpanKindClient, dead.SpanKind())
	require.Equal(t, codes.Unset, dead.Status().Code)
	as := text(dead.Attributes())
	require.Equal(t, "refused", as["typedbus.dead_letter.reason"])
	require.Equal(t, "settle", as["messaging.operation.type"])
	require.Equal(t, "dead_letter", as["messaging.operation.name"])
	require.Equal(t, "billing", as["messaging.consumer.group.name"])
	require.Equal(t, map[string]int64{"refused": 1}, r.sums("typedbus.dead_letter.moved", "typedbus.dead_letter.reason"))
	require.Equal(t, uint64(1), r.durations("messaging.client.operation.duration", "messaging.operation.name")["dead_letter"])
	require.Len(t, r.spans.Ended(), 3)
}

func TestReasonThatIsNoWord(t *testing.T) {
	for _, reason := range []string{"card of " + inPayload, strings.Repeat("x", 65)} {
		r := newRig(t, telemetry.Options{})
		handle := r.tel.Handle(func(context.Context, *bus.Delivery) error { return bus.DeadLetter(reason, nil) })
		require.Error(t, handle(t.Context(), bustest.NewEvent(t, nil, orders, note{}).Delivery))
		require.Equal(t, "other", text(r.one("process orders.placed").Attributes())["error.type"])
		require.Equal(t, "other", text(r.one("dead_letter orders.placed").Attributes())["typedbus.dead_letter.reason"])
		require.Equal(t, map[string]int64{"other": 1}, r.sums("typedbus.dead_letter.moved", "typedbus.dead_letter.reason"))
	}
}

// losing is a transport whose leases are lost when a letter is to be stored.
type losing struct{ *memory.Transport }

type losingSubscription struct{ transport.Subscription }

func (l losing) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	s, err := l.Transport.Subscribe(ctx, t, g)
	return losingSubscription{s}, err
}

func (losingSubscription) Settle(_ context.Context, ss []transport.Settlement) error {
	errs := make([]error, len(ss))
	for i := range ss {
		errs[i] = transport.ErrLeaseLost
	}
	return &transport.SettleError{Errs: errs}
}

func TestDeadLetterThatIsNotStored(t *testing.T) {
	r := newRigOn(t, func(tr *memory.Transport) transport.Transport { return losing{tr} }, telemetry.Options{})
	orders.Subscribe(r.Bus, "billing", func(context.Context, *bus.Event[note]) error { return bus.DeadLetter("refused", nil) })
	stop := bustest.Start(t, r.Bus)
	require.NoError(t, orders.Publish(t.Context(), r, note{}))
	require.Eventually(t, func() bool { return len(r.named("dead_letter orders.placed")) == 1 }, 10*time.Second, time.Millisecond)
	stop()
	dead := r.one("dead_letter orders.placed")
	require.Equal(t, codes.Error, dead.Status().Code)
	require.Equal(t, "lease_lost", text(dead.Attributes())["error.type"])
	require.Nil(t, r.metric("typedbus.dead_letter.moved"), "what is not stored is not counted")
}

func TestSettleSpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, telemetry.Options{SettleSpans: true})
		orders.Subscribe(r.Bus, "billing", func(_ context.Context, e *bus.Event[note]) error {
			switch {
			case e.Attempt == 2:
				return nil
			case e.Payload.Order == 1:
				return errors.New(inError)
			case e.Payload.Order == 2:
				return bus.DeadLetter("refused", nil)
			}
			return nil
		})
		r.run(func() {
			for i := range 3 {
				require.NoError(t, orders.Publish(t.Context(), r, note{Order: i}))
			}
		})
		require.Len(t, r.named("ack orders.placed"), 2)
		require.Len(t, r.named("retry orders.placed"), 1)
		require.Len(t, r.named("dead_letter orders.placed"), 1)
	})
}

func TestOutcomes(t *testing.T) {
	boom := errors.New(inError)
	for name, c := range map[string]struct {
		handle         func() error
		outcome, class string
	}{
		"handled":          {func() error { return nil }, "handled", ""},
		"failed":           {func() error { return boom }, "failed", "*errors.errorString"},
		"failed, typed":    {func() error { return errorTyped{} }, "failed", "card_declined"},
		"timeout":          {func() error { return context.DeadlineExceeded }, "failed", "timeout"},
		"snoozed":          {func() error { return bus.Snooze(0, boom) }, "snoozed", ""},
		"paused":           {func() error { return bus.Pause(time.Millisecond, boom) }, "paused", ""},
		"permanent":        {func() error { return bus.Permanent(errorTyped{}) }, "permanently_failed", "card_declined"},
		"dead":             {func() error { return bus.DeadLetter("poison", errorTyped{}) }, "dead_lettered", "card_declined"},
		"dead, no words":   {func() error { return bus.DeadLetter("", nil) }, "dead_lettered", "other"},
		"panicked":         {func() error { panic(inError) }, "failed", "panic"},
		"ended goroutine":  {func() error { runtime.Goexit(); return nil }, "failed", "panic"},
		"a panic, wrapped": {func() error { return &bus.PanicError{Value: inError} }, "failed", "panic"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, telemetry.Options{})
			var calls atomic.Int64
			orders.Subscribe(r.Bus, "billing", func(context.Context, *bus.Event[note]) error {
				if calls.Add(1) > 1 {
					return nil
				}
				return c.handle()
			}, bus.Redeliver(bus.Backoff{Min: time.Millisecond, Max: time.Millisecond}))
			r.run(func() { require.NoError(t, orders.Publish(t.Context(), r, note{})) })
			first := r.named("process orders.placed")[0]
			as := text(first.Attributes())
			require.Equal(t, c.outcome, as["typedbus.delivery.outcome"])
			require.Equal(t, c.class, as["error.type"])
			require.Equal(t, c.class != "", first.Status().Code == codes.Error)
			require.Empty(t, first.Status().Description)
			require.Empty(t, first.Events())
		})
	}
}

type errorTyped struct{}

func (errorTyped) Error() string     { return inError }
func (errorTyped) ErrorType() string { return "card_declined" }

func TestCutShortByTheDrainIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, telemetry.Options{})
		began := make(chan struct{})
		orders.Subscribe(r.Bus, "billing", func(ctx context.Context, _ *bus.Event[note]) error {
			close(began)
			<-ctx.Done()
			return ctx.Err()
		})
		stop := bustest.Start(t, r.Bus)
		require.NoError(t, orders.Publish(t.Context(), r, note{}))
		<-began
		stop()
		process := r.one("process orders.placed")
		require.Equal(t, "released", text(process.Attributes())["typedbus.delivery.outcome"])
		require.Equal(t, codes.Unset, process.Status().Code)
	})
}

func TestLostLease(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	ctx, lose := context.WithCancelCause(t.Context())
	handle := r.tel.Handle(func(ctx context.Context, _ *bus.Delivery) error {
		lose(bus.ErrLeaseLost)
		return ctx.Err()
	})
	require.Equal(t, context.Canceled, handle(ctx, bustest.NewEvent(t, nil, orders, note{}).Delivery))
	as := text(r.one("process orders.placed").Attributes())
	require.Equal(t, "lease_lost", as["typedbus.delivery.outcome"])
	require.Equal(t, "lease_lost", as["error.type"])
}

func TestDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, telemetry.Options{}, middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{}))
		handled := 0
		orders.Subscribe(r.Bus, "billing", func(context.Context, *bus.Event[note]) error {
			handled++
			time.Sleep(time.Second)
			return nil
		})
		r.run(func() {
			for range 2 {
				require.NoError(t, orders.Publish(t.Context(), r, note{}, bus.ID("same")))
			}
		})
		require.Equal(t, 1, handled)
		outcomes := map[string]string{}
		for _, s := range r.named("process orders.placed") {
			as := text(s.Attributes())
			outcomes[as["typedbus.delivery.duplicate"]] = as["typedbus.delivery.outcome"]
			require.Equal(t, codes.Unset, s.Status().Code)
		}
		require.Equal(t, map[string]string{"": "handled", "running": "snoozed", "done": "handled"}, outcomes)
		counts := r.sums("typedbus.duplicates", "typedbus.delivery.duplicate")
		require.EqualValues(t, 1, counts["done"])
		require.Positive(t, counts["running"])
	})
}

func TestErrorText(t *testing.T) {
	r := newRig(t, telemetry.Options{ErrorText: true})
	orders.Subscribe(r.Bus, "billing", func(context.Context, *bus.Event[note]) error {
		return bus.DeadLetter("refused", errors.New(strings.Repeat("ü", 2000)))
	})
	r.run(func() { require.NoError(t, orders.Publish(t.Context(), r, note{})) })
	require.Equal(t, strings.Repeat("ü", 512), r.one("process orders.placed").Status().Description, "bounded, and valid UTF-8")
}
