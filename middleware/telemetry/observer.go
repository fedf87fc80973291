package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/middleware"
)

// observer takes what middleware further in tells of.
type observer struct{ t *Telemetry }

var _ middleware.Observer = observer{}

// Retried makes an event of the span: a try that was followed by another is no error.
func (o observer) Retried(ctx context.Context, _ *bus.Delivery, try int, wait time.Duration, err error) {
	h := handlingOf(ctx)
	if h == nil {
		return
	}
	o.t.retries.Add(ctx, 1, h.m.duplicates.bare.add...)
	event(h.span, "typedbus.retry", keyTry.Int(try), keyWait.Float64(wait.Seconds()), semconv.ErrorTypeKey.String(errorType(err)))
}

// Duplicate says so on the span.
func (o observer) Duplicate(ctx context.Context, _ *bus.Delivery, done bool) {
	h := handlingOf(ctx)
	if h == nil {
		return
	}
	state := "running"
	if done {
		state = "done"
	}
	o.t.duplicates.Add(ctx, 1, h.m.duplicates.of(state).add...)
	h.span.SetAttributes(keyDuplicate.String(state))
}

// event notes something on a span. It stands alone because OpenTelemetry means to move span events to logs.
func event(span trace.Span, name string, as ...attribute.KeyValue) {
	if span.IsRecording() {
		span.AddEvent(name, trace.WithAttributes(as...))
	}
}
