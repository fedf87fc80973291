package telemetrytest

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/telemetry"
	"github.com/typedbus/typedbus/transport"
)

var done = func(context.Context, *bus.Event[note]) error { return nil }

// sampler records everything, and what it was shown when it decided.
type sampler struct {
	seen map[string]sdktrace.SamplingParameters
}

func (s sampler) Description() string { return "records" }

func (s sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	s.seen[p.Name] = p
	return sdktrace.AlwaysSample().ShouldSample(p)
}

func TestSpansFollowTheConventions(t *testing.T) {
	samples := sampler{map[string]sdktrace.SamplingParameters{}}
	r := newRig(t, telemetry.Options{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSampler(samples)), System: "memory", ServerAddress: "host", ServerPort: 7})
	orders.Subscribe(r.Bus, "billing", done)
	r.run(func() {
		require.NoError(t, orders.Publish(t.Context(), r, note{}, bus.ID("e-1"), bus.Key(inKey)))
	})
	send, process := samples.seen["send orders.placed"], samples.seen["process orders.placed"]
	common := map[string]string{
		"messaging.system": "memory", "messaging.destination.name": "orders.placed", "messaging.message.id": "e-1",
		"server.address": "host", "server.port": "7",
	}
	with := func(more map[string]string) map[string]string {
		for k, v := range common {
			more[k] = v
		}
		return more
	}
	require.Equal(t, with(map[string]string{"messaging.operation.name": "send", "messaging.operation.type": "send"}), text(send.Attributes),
		"what samplers decide by is there when the span begins")
	require.Equal(t, with(map[string]string{
		"messaging.operation.name": "process", "messaging.operation.type": "process", "messaging.consumer.group.name": "billing",
		"typedbus.delivery.attempt": "1",
	}), text(process.Attributes))
	require.Equal(t, trace.SpanKindProducer, send.Kind)
	require.Equal(t, trace.SpanKindConsumer, process.Kind)
}

func TestParentAndLink(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	orders.Subscribe(r.Bus, "billing", done)
	orders.Subscribe(r.Bus, "archive", done)
	r.run(func() { require.NoError(t, orders.Publish(t.Context(), r, note{})) })

	send := r.one("send orders.placed")
	require.False(t, send.Parent().IsValid())
	require.Empty(t, send.Links())
	require.Equal(t, codes.Unset, send.Status().Code)
	require.Equal(t, "https://opentelemetry.io/schemas/1.43.0", send.InstrumentationScope().SchemaURL)
	for _, process := range r.named("process orders.placed") {
		require.Equal(t, send.SpanContext().SpanID(), process.Parent().SpanID())
		require.Equal(t, send.SpanContext().TraceID(), process.SpanContext().TraceID())
		require.True(t, process.Parent().IsRemote())
		require.Len(t, process.Links(), 1)
		require.Equal(t, send.SpanContext().SpanID(), process.Links()[0].SpanContext.SpanID())
		require.Equal(t, "handled", text(process.Attributes())["typedbus.delivery.outcome"])
		require.Equal(t, codes.Unset, process.Status().Code)
	}
	require.Len(t, r.spans.Ended(), 3)
}

// A span around Run lasts as long as the program: an event from elsewhere is no part of it.
func TestSpanAroundRunIsNoParent(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	orders.Subscribe(r.Bus, "billing", done)
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans)).Tracer("main")
	ctx, main := tracer.Start(t.Context(), "main")
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	require.NoError(t, r.tr.Publish(t.Context(), transport.Topic{Name: "orders.placed"}, []*bus.Message{{ID: "1", Body: []byte("{}"), ContentType: "application/json"}}))
	require.Eventually(t, func() bool { return len(r.named("process orders.placed")) == 1 }, 10*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	main.End()
	process := r.one("process orders.placed")
	require.False(t, process.Parent().IsValid())
	require.Empty(t, process.Links())
	require.NotEqual(t, main.SpanContext().TraceID(), process.SpanContext().TraceID())
}

func TestLinksOnly(t *testing.T) {
	for name, o := range map[string]telemetry.Options{
		"links only": {LinksOnly: true},
		"untrusted":  {UntrustedProducer: true},
	} {
		t.Run(name, func(t *testing.T) {
			o.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
			r := newRig(t, o)
			var tenant atomic.Value
			orders.Subscribe(r.Bus, "billing", func(ctx context.Context, e *bus.Event[note]) error {
				tenant.Store(baggage.FromContext(ctx).Member("tenant").Value())
				return invoices.Publish(ctx, e, e.Payload)
			})
			r.run(func() {
				member, err := baggage.NewMember("tenant", "acme")
				require.NoError(t, err)
				bag, err := baggage.New(member)
				require.NoError(t, err)
				require.NoError(t, orders.Publish(baggage.ContextWithBaggage(t.Context(), bag), r, note{}))
			})
			send, process := r.one("send orders.placed"), r.one("process orders.placed")
			require.False(t, process.Parent().IsValid(), "a new trace")
			require.NotEqual(t, send.SpanContext().TraceID(), process.SpanContext().TraceID())
			require.Len(t, process.Links(), 1)
			require.Equal(t, send.SpanContext().SpanID(), process.Links()[0].SpanContext.SpanID())
			require.Equal(t, process.SpanContext().SpanID(), r.one("send invoices.issued").Parent().SpanID())
			if o.UntrustedProducer {
				require.Empty(t, tenant.Load(), "no baggage")
			} else {
				require.Equal(t, "acme", tenant.Load())
			}
		})
	}
}

func TestReplayBeginsATrace(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	orders.Subscribe(r.Bus, "billing", func(_ context.Context, e *bus.Event[note]) error {
		if e.Replays == 0 {
			return bus.DeadLetter("broken", nil)
		}
		return nil
	})
	r.run(func() {
		require.NoError(t, orders.Publish(t.Context(), r, note{}))
		bustest.Settle(t, r.Bus)
		topic := transport.Topic{Name: "orders.placed"}
		letters, err := r.tr.Letters(t.Context(), topic, "billing", "", 10)
		require.NoError(t, err)
		_, err = r.tr.Replay(t.Context(), topic, "billing", letters[0].LetterID)
		require.NoError(t, err)
	})
	send, processed := r.one("send orders.placed"), r.named("process orders.placed")
	require.Len(t, processed, 2)
	again := processed[1]
	require.Equal(t, send.SpanContext().TraceID(), processed[0].SpanContext().TraceID())
	require.False(t, again.Parent().IsValid(), "a new trace")
	require.NotEqual(t, send.SpanContext().TraceID(), again.SpanContext().TraceID())
	require.Len(t, again.Links(), 1)
	require.Equal(t, send.SpanContext().SpanID(), again.Links()[0].SpanContext.SpanID(), "linked to who made the event")
	require.Equal(t, "1", text(again.Attributes())["typedbus.delivery.replays"])
}

// One span a delivery: what failed is an error there, and what went well later is none.
func TestRedelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, telemetry.Options{})
		orders.Subscribe(r.Bus, "billing", func(_ context.Context, e *bus.Event[note]) error {
			if e.Attempt == 1 {
				return &net404{}
			}
			return nil
		})
		r.run(func() { require.NoError(t, orders.Publish(t.Context(), r, note{})) })
		send, processed := r.one("send orders.placed"), r.named("process orders.placed")
		require.Len(t, processed, 2)
		for i, p := range processed {
			require.Equal(t, send.SpanContext().SpanID(), p.Parent().SpanID())
			require.Equal(t, []string{"1", "2"}[i], text(p.Attributes())["typedbus.delivery.attempt"])
		}
		require.Equal(t, sdktrace.Status{Code: codes.Error}, processed[0].Status())
		require.Equal(t, "*telemetrytest.net404", text(processed[0].Attributes())["error.type"])
		require.Equal(t, codes.Unset, processed[1].Status().Code)
		require.NotContains(t, text(processed[1].Attributes()), "error.type")
		require.Equal(t, map[string]uint64{"": 1, "*telemetrytest.net404": 1}, r.durations("messaging.process.duration", "error.type"))
	})
}

type net404 struct{}

func (*net404) Error() string { return "not found: " + inError }

func TestRetriesInPlaceAreNoErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, telemetry.Options{}, middleware.Retry(middleware.RetryOptions{Tries: 3}))
		tries := 0
		orders.Subscribe(r.Bus, "billing", func(ctx context.Context, e *bus.Event[note]) error {
			if tries++; tries < 3 {
				return &net404{}
			}
			return nil
		})
		r.run(func() { require.NoError(t, orders.Publish(t.Context(), r, note{})) })
		process := r.one("process orders.placed")
		require.Equal(t, codes.Unset, process.Status().Code)
		require.Equal(t, "handled", text(process.Attributes())["typedbus.delivery.outcome"])
		require.Len(t, process.Events(), 2)
		for i, e := range process.Events() {
			require.Equal(t, "typedbus.retry", e.Name)
			as := text(e.Attributes)
			require.Equal(t, []string{"1", "2"}[i], as["typedbus.retry.try"])
			require.Equal(t, "*telemetrytest.net404", as["error.type"])
			require.Contains(t, as, "typedbus.retry.wait")
		}
		require.Equal(t, map[string]int64{"billing": 2}, r.sums("typedbus.retries", "messaging.consumer.group.name"))
		require.Equal(t, map[string]int64{"billing": 1}, r.sums("messaging.client.consumed.messages", "messaging.consumer.group.name"))
	})
}

func TestUsedTwice(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	b := bus.New(r.tr, bus.Use(r.tel.Handle, rewriting), bus.UseSend(r.tel.Send, copying, r.tel.Send))
	r.Bus = b
	orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[note]) error {
		return invoices.Publish(ctx, e, e.Payload)
	}, bus.Use(r.tel.Handle))
	r.run(func() { require.NoError(t, orders.PublishAll(t.Context(), r, []note{{}, {}})) })
	require.Len(t, r.named("send orders.placed"), 1)
	require.Len(t, r.named("process orders.placed"), 2)
	require.Len(t, r.named("send invoices.issued"), 2)
	require.Equal(t, map[string]int64{"orders.placed": 2, "invoices.issued": 2}, r.sums("messaging.client.sent.messages", "messaging.destination.name"))
	require.Equal(t, map[string]int64{"orders.placed": 2}, r.sums("messaging.client.consumed.messages", "messaging.destination.name"))
}

// rewriting is middleware that gives the handler another delivery of the same event.
func rewriting(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		m := *d.Message
		return next(ctx, d.WithMessage(&m))
	}
}

// copying is send middleware that sends copies, and notes of its own.
func copying(next bus.Sender) bus.Sender {
	return func(ctx context.Context, t transport.Topic, ms []*bus.Message) error {
		var copies []*bus.Message
		for _, m := range ms {
			copies = append(copies, m.Clone())
		}
		return next(ctx, t, copies)
	}
}

func TestBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, telemetry.Options{})
		orders.Subscribe(r.Bus, "archive", bus.Batched(3, time.Second, telemetry.Batch(r.tel, func(ctx context.Context, es []*bus.Event[note]) error {
			return parcels.Publish(ctx, r, note{})
		})))
		r.run(func() {
			for range 3 {
				require.NoError(t, orders.Publish(t.Context(), r, note{}))
			}
		})
		sent, processed := r.named("send orders.placed"), r.named("process orders.placed")
		require.Len(t, sent, 3)
		require.Len(t, processed, 4, "one for each event, one for the batch")
		i := slices.IndexFunc(processed, func(s sdktrace.ReadOnlySpan) bool {
			return text(s.Attributes())["messaging.batch.message_count"] == "3"
		})
		require.GreaterOrEqual(t, i, 0)
		batch := processed[i]
		require.NotContains(t, text(batch.Attributes()), "messaging.message.id")
		require.False(t, batch.Parent().IsValid())
		require.Len(t, batch.Links(), 3)
		linked := map[trace.SpanID]bool{}
		for _, l := range batch.Links() {
			linked[l.SpanContext.SpanID()] = true
			require.Contains(t, text(l.Attributes), "messaging.message.id")
		}
		for _, s := range sent {
			require.True(t, linked[s.SpanContext().SpanID()])
		}
		require.Equal(t, batch.SpanContext().SpanID(), r.one("send parcels.sent").Parent().SpanID())
		require.Equal(t, map[string]uint64{"": 3}, r.durations("messaging.process.duration", "error.type"))
	})
}

func TestBatchThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		class string
	}{
		"none":           {nil, ""},
		"all":            {errorTyped{}, "card_declined"},
		"one":            {bus.BatchErrors{nil, bus.Snooze(0, nil), errorTyped{}}, "card_declined"},
		"none, in words": {bus.BatchErrors{nil, bus.Pause(0, errorTyped{})}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, telemetry.Options{})
			handle := telemetry.Batch(r.tel, func(context.Context, []*bus.Event[note]) error { return c.err })
			err := handle(t.Context(), []*bus.Event[note]{bustest.NewEvent(t, nil, orders, note{})})
			require.Equal(t, c.err, err)
			as := text(r.one("process orders.placed").Attributes())
			assert.Equal(t, c.class, as["error.type"])
		})
	}
}

// Options of spans are used again: each span has its own attributes and link all the same.
func TestSpansThatStartAtOnceKeepApart(t *testing.T) {
	const n = 200
	r := newRig(t, telemetry.Options{})
	orders.Subscribe(r.Bus, "billing", done, bus.Concurrency(8))
	r.run(func() {
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { assert.NoError(t, orders.Publish(t.Context(), r, note{}, bus.ID(strconv.Itoa(i)))) })
		}
		wg.Wait()
	})
	sends := map[string]trace.SpanID{}
	for _, s := range r.named("send orders.placed") {
		sends[text(s.Attributes())["messaging.message.id"]] = s.SpanContext().SpanID()
	}
	require.Len(t, sends, n)
	seen := map[string]bool{}
	for _, s := range r.named("process orders.placed") {
		id := text(s.Attributes())["messaging.message.id"]
		seen[id] = true
		require.Equal(t, sends[id], s.Parent().SpanID())
		require.Len(t, s.Links(), 1)
		require.Equal(t, sends[id], s.Links()[0].SpanContext.SpanID())
	}
	require.Len(t, seen, n)
}
