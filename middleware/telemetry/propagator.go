package telemetry

import (
	"context"
	"encoding/hex"
	"reflect"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/transport"
)

// propagator writes the trace into headers and reads it there. Where W3C Trace Context comes first, as it nearly always does, it
// reads and writes a plain traceparent itself, which is all there is of most traces; what else there is is the others' work.
type propagator struct {
	all  propagation.TextMapPropagator
	w3c  bool
	rest propagation.TextMapPropagator // what follows W3C Trace Context; nil for nothing
}

// choosePropagator is called when the first event passes: by then main has set the global one, if it wants to.
func (t *Telemetry) choosePropagator() *propagator {
	if t.opts.Propagator != nil {
		return newPropagator(t.opts.Propagator)
	}
	if p := otel.GetTextMapPropagator(); len(p.Fields()) > 0 {
		return newPropagator(p)
	}
	return newPropagator(propagation.TraceContext{})
}

var composite = reflect.TypeOf(propagation.NewCompositeTextMapPropagator())

// newPropagator looks for W3C Trace Context at the head of p, also where p is what package propagation makes of several.
func newPropagator(p propagation.TextMapPropagator) *propagator {
	all := &propagator{all: p}
	if _, all.w3c = p.(propagation.TraceContext); all.w3c {
		return all
	}
	v := reflect.ValueOf(p)
	if v.Type() != composite || composite.Kind() != reflect.Slice || v.Len() == 0 {
		return all
	}
	if _, all.w3c = v.Index(0).Interface().(propagation.TraceContext); all.w3c && v.Len() > 1 {
		all.rest, all.w3c = v.Slice(1, v.Len()).Interface().(propagation.TextMapPropagator)
	}
	return all
}

const (
	traceparentHeader = "traceparent"
	tracestateHeader  = "tracestate"
)

// extract reads what headers say of where a message comes from: ctx with that, and the span that made the message, invalid if they
// do not say.
func (p *propagator) extract(ctx context.Context, h *transport.Headers) (context.Context, trace.SpanContext) {
	if len(*h) == 0 {
		return ctx, trace.SpanContext{}
	}
	value, ok := h.Lookup(traceparentHeader)
	sc := parsed(value)
	if !p.w3c || ok && (!sc.IsValid() || h.Get(tracestateHeader) != "") {
		return extracted(ctx, p.all, h)
	}
	if ok {
		ctx = trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	if p.rest == nil {
		return ctx, sc
	}
	ctx, other := extracted(ctx, p.rest, h)
	if other.IsValid() {
		sc = other
	}
	return ctx, sc
}

func extracted(ctx context.Context, p propagation.TextMapPropagator, h *transport.Headers) (context.Context, trace.SpanContext) {
	from := p.Extract(ctx, carrier{h})
	sc := trace.SpanContextFromContext(from)
	if sc.Equal(trace.SpanContextFromContext(ctx)) {
		return from, trace.SpanContext{} // not the message's, but around us
	}
	return from, sc
}

// parsed reads a traceparent as everybody writes it; invalid if it is anything else.
func parsed(v string) trace.SpanContext {
	if len(v) != 55 || v[:3] != "00-" || v[35] != '-' || v[52:54] != "-0" || v[54] < '0' || v[54] > '3' {
		return trace.SpanContext{}
	}
	id, err := trace.TraceIDFromHex(v[3:35])
	if err != nil {
		return trace.SpanContext{}
	}
	span, err := trace.SpanIDFromHex(v[36:52])
	if err != nil {
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(v[54] - '0'), Remote: true})
}

// inject appends to h, which is empty, the headers that say that a message comes from ctx.
func (p *propagator) inject(ctx context.Context, h transport.Headers) transport.Headers {
	sc := trace.SpanContextFromContext(ctx)
	if !p.w3c || sc.TraceState().Len() > 0 {
		return injected(ctx, p.all, h)
	}
	if sc.IsValid() {
		h = append(h, transport.Header{Name: traceparentHeader, Value: traceparent(sc)})
	}
	if p.rest != nil {
		return injected(ctx, p.rest, h)
	}
	return h
}

func injected(ctx context.Context, p propagation.TextMapPropagator, h transport.Headers) transport.Headers {
	p.Inject(ctx, carrier{&h})
	return h
}

func traceparent(sc trace.SpanContext) string {
	var buf [55]byte
	id, span := sc.TraceID(), sc.SpanID()
	b := append(hex.AppendEncode(append(buf[:0], "00-"...), id[:]), '-')
	b = append(hex.AppendEncode(b, span[:]), '-', '0', '0'+byte(sc.TraceFlags()&(trace.FlagsSampled|trace.FlagsRandom)))
	return string(b)
}
