package telemetry

import (
	"context"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// settling is the span of a settlement, from the verdict to the broker's answer.
type settling struct {
	t      *Telemetry
	m      *settleMeters
	of     *processMeters
	reason string
	span   trace.Span
	began  time.Time
}

// settle makes the span of a settlement, if there is to be one.
func (h *handling) settle(e ending, v bus.Verdict) {
	if e.settle != opDeadLetter && !h.t.opts.SettleSpans {
		return
	}
	s := &settling{t: h.t, m: h.m.settling(e.settle), of: h.m, reason: v.Reason, began: time.Now()}
	id := trace.WithAttributes(semconv.MessagingMessageID(h.d.ID))
	_, s.span = h.t.tracer.Start(h.Context, s.m.name, client, s.m.attributes, id)
	if s.reason != "" {
		s.span.SetAttributes(keyReason.String(s.reason))
	}
	if h.d.Draining() == nil { // no bus handles it, and none will say what became of it
		s.ended(h.Context, transport.Dead, nil)
		return
	}
	h.d.OnSettled(s.ended)
}

func (s *settling) ended(ctx context.Context, v transport.Verdict, err error) {
	ctx = trace.ContextWithSpan(ctx, s.span)
	class := errorType(err)
	dead := s.m.operation == opDeadLetter
	switch {
	case err == nil && dead && v != transport.Dead:
		class = "refused" // the broker did not take it, and the bus will have the event delivered again
	case err == nil && dead:
		s.t.deadLetter.Add(ctx, 1, s.of.reasons.of(s.reason).add...)
	}
	if class != "" {
		s.t.fail(s.span, class, err)
	}
	took(ctx, s.t.operation, time.Since(s.began).Seconds(), s.m.labels.of(class))
	s.span.End()
}
