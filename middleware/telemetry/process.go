package telemetry

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/middleware"
)

// Handle is a [bus.Middleware]: it makes the span "process <topic>" of each delivery, and counts and measures it. Let it be the
// outermost. Inside another Handle it does nothing, so it may be in the chain of the bus and of a subscription.
//
// The span's parent is the span that sent the event, to which it links too; a delivery that was replayed from the dead letters begins a
// new trace and only links. A span in the context of Run is no parent: it lasts as long as the program.
//
// It has the status Error if the delivery failed, for good or not, or went to the dead letters. Snooze, Pause, and being cut short by a
// drain are no errors, and neither are tries of middleware.Retry that were followed by a better one: those are events of the span.
func (t *Telemetry) Handle(next bus.Handler) bus.Handler {
	var latest atomic.Pointer[processMeters] // a chain is built for one subscription
	return func(ctx context.Context, d *bus.Delivery) error {
		if h := handlingOf(ctx); h != nil && h.d.Same(d) {
			return next(ctx, d)
		}
		m := latest.Load()
		if m == nil || m.topic != d.Topic || m.group != d.Group {
			m = t.processMeters(d.Topic, d.Group)
			latest.Store(m)
		}
		h := t.begin(ctx, d, m)
		returned, err := false, error(nil)
		defer func() { h.end(returned, err) }()
		err = next(middleware.Observed(h, observer{t}), d)
		returned = true
		return err
	}
}

// handling is one delivery inside its span, and the context that handlers get.
type handling struct {
	context.Context // with the span
	t               *Telemetry
	m               *processMeters
	d               *bus.Delivery
	engine          context.Context // the delivery's own, whose end is the engine's doing
	span            trace.Span
	began           time.Time
}

type handlingKey struct{}

func (h *handling) Value(key any) any {
	if key == (handlingKey{}) {
		return h
	}
	return h.Context.Value(key)
}

// handlingOf is the innermost delivery around ctx; nil if there is none.
func handlingOf(ctx context.Context) *handling {
	h, _ := ctx.Value(handlingKey{}).(*handling)
	return h
}

// begin starts the span.
func (t *Telemetry) begin(engine context.Context, d *bus.Delivery, m *processMeters) *handling {
	ctx, origin, root := t.origin(engine, d)
	o := m.starts.get()
	defer m.starts.put(o)
	o.own[0], o.own[1] = semconv.MessagingMessageID(d.ID), keyAttempt.Int(d.Attempt)
	options := append(o.options, consumer)
	if root {
		options = append(options, newRoot)
		if origin.IsValid() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: origin}))
		}
	}
	if as := historyAttributes(d); len(as) > 0 {
		options = append(options, trace.WithAttributes(as...))
	}
	h := &handling{t: t, m: m, d: d, engine: engine, began: time.Now()}
	h.Context, h.span = t.tracer.Start(ctx, m.name, options...)
	if !root && h.span.IsRecording() { // samplers have seen it as the parent
		h.span.AddLink(trace.Link{SpanContext: origin})
	}
	t.consumed.Add(h.Context, 1, m.labels.bare.add...)
	return h
}

var (
	consumer = trace.WithSpanKind(trace.SpanKindConsumer)
	producer = trace.WithSpanKind(trace.SpanKindProducer)
	client   = trace.WithSpanKind(trace.SpanKindClient)
	newRoot  = trace.WithNewRoot()
)

// origin tells where the span of a delivery belongs: the context that has its parent, the span to link to, and whether to begin a
// new trace whatever is in that context.
func (t *Telemetry) origin(engine context.Context, d *bus.Delivery) (ctx context.Context, link trace.SpanContext, root bool) {
	from, sc := t.propagator().extract(engine, &d.Headers)
	switch {
	case t.opts.UntrustedProducer:
		return engine, sc, true
	case !sc.IsValid():
		return from, sc, true
	}
	return from, sc, t.opts.LinksOnly || d.Replays > 0
}

func deliveryAttributes(d *bus.Delivery) []attribute.KeyValue {
	return append([]attribute.KeyValue{semconv.MessagingMessageID(d.ID), keyAttempt.Int(d.Attempt)}, historyAttributes(d)...)
}

// historyAttributes are those that most deliveries do not have.
func historyAttributes(d *bus.Delivery) (as []attribute.KeyValue) {
	if d.Redelivered > 0 {
		as = append(as, keyRedelivered.Int(d.Redelivered))
	}
	if d.Replays > 0 {
		as = append(as, keyReplays.Int(d.Replays))
	}
	return as
}

// An ending is how a delivery ended, in words for attributes.
type ending struct {
	outcome string
	class   string // of the error; "" if it is none
	settle  operation
}

// end ends the span. A handler that did not return panicked, or ended its goroutine.
func (h *handling) end(returned bool, err error) {
	v := bus.VerdictOf(err)
	e := h.ending(v)
	if !returned {
		e = ending{"failed", classPanic, opRetry}
	}
	h.settle(e, v)
	if h.span.IsRecording() {
		h.span.SetAttributes(keyOutcome.String(e.outcome))
	}
	if e.class != "" {
		h.t.fail(h.span, e.class, v.Err)
	}
	took(h.Context, h.t.process, time.Since(h.began).Seconds(), h.m.labels.of(e.class))
	h.span.End()
}

func (h *handling) ending(v bus.Verdict) ending {
	switch v.Kind {
	case bus.Handled:
		return ending{"handled", "", opAck}
	case bus.Snoozed:
		return ending{"snoozed", "", opDefer}
	case bus.Paused:
		return ending{"paused", "", opDefer}
	case bus.PermanentlyFailed:
		return ending{"permanently_failed", errorType(v.Err), opRetry}
	case bus.DeadLettered:
		return ending{"dead_lettered", deadLetterClass(v), opDeadLetter}
	}
	switch context.Cause(h.engine) {
	case bus.ErrLeaseLost:
		return ending{"lease_lost", classLeaseLost, opRetry}
	case bus.ErrDraining:
		return ending{"released", "", opDefer}
	}
	return ending{"failed", errorType(v.Err), opRetry}
}

// deadLetterClass prefers the reason where the error is a mere text: who routes to the dead letters quotes the error.
func deadLetterClass(v bus.Verdict) string {
	if class, telling := classOf(v.Err); telling {
		return class
	}
	return cmp.Or(v.Reason, other)
}
