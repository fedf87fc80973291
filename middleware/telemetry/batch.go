package telemetry

import (
	"context"
	"errors"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/bus"
)

// Batch gives a batch a span of its own, with a link to the span that sent each of its events: wrap in it what [bus.Batched] gets.
//
//	bus.Batched(500, time.Second, telemetry.Batch(tel, store))
//
// The span begins a trace. Without Batch, what the handler does shows in the trace of the batch's first event, because the context
// of a batch has that event's values. The "process" spans and metrics of [Telemetry.Handle] stay those of single events, and last from
// when an event began to wait for its batch.
func Batch[T any](t *Telemetry, h func(context.Context, []*bus.Event[T]) error) func(context.Context, []*bus.Event[T]) error {
	if h == nil {
		return nil // reported by Run
	}
	return func(ctx context.Context, es []*bus.Event[T]) error {
		ds := make([]*bus.Delivery, len(es))
		for i, e := range es {
			ds[i] = e.Delivery
		}
		ctx, end := t.batch(ctx, ds)
		returned, err := false, error(nil)
		defer func() { end(returned, err) }()
		err = h(ctx, es)
		returned = true
		return err
	}
}

// batch starts the span of a batch, which is never empty.
func (t *Telemetry) batch(ctx context.Context, ds []*bus.Delivery) (context.Context, func(returned bool, err error)) {
	m := t.processMeters(ds[0].Topic, ds[0].Group)
	links := make([]trace.Link, 0, len(ds))
	for _, d := range ds {
		if _, sc := t.propagator().extract(ctx, &d.Headers); sc.IsValid() {
			links = append(links, trace.Link{SpanContext: sc, Attributes: deliveryAttributes(d)})
		}
	}
	ctx, span := t.tracer.Start(ctx, m.name, consumer, trace.WithNewRoot(), m.attributes,
		trace.WithAttributes(semconv.MessagingBatchMessageCount(len(ds))), trace.WithLinks(links...))
	return ctx, func(returned bool, err error) {
		switch class := batchClass(err); {
		case !returned:
			t.fail(span, classPanic, nil)
		case class != "":
			t.fail(span, class, err)
		}
		span.End()
	}
}

// batchClass is the class of the first event's error that is one.
func batchClass(err error) string {
	errs := []error{err}
	if each := bus.BatchErrors(nil); errors.As(err, &each) {
		errs = each
	}
	for _, err := range errs {
		switch v := bus.VerdictOf(err); v.Kind {
		case bus.Handled, bus.Snoozed, bus.Paused:
		default:
			return errorType(v.Err)
		}
	}
	return ""
}
