package telemetry

import (
	"slices"

	"go.opentelemetry.io/otel/propagation"

	"github.com/typedbus/typedbus/transport"
)

// carrier lets a propagator read and write headers.
type carrier struct{ h *transport.Headers }

var _ propagation.TextMapCarrier = carrier{}

func (c carrier) Get(name string) string { return c.h.Get(name) }

// Set leaves out what no transport would store: a trace is not worth an event.
func (c carrier) Set(name, value string) {
	if transport.ValidHeaderName(name) {
		c.h.Set(name, value)
	}
}

func (c carrier) Keys() []string {
	names := make([]string, len(*c.h))
	for i, h := range *c.h {
		names[i] = h.Name
	}
	return names
}

// with returns headers in which those of trace replace others of the same name. It changes neither.
func with(h, trace transport.Headers) transport.Headers {
	all := slices.Grow(transport.Headers(nil), len(h)+len(trace))
	for _, x := range h {
		if _, replaced := trace.Lookup(x.Name); !replaced {
			all = append(all, x)
		}
	}
	return append(all, trace...)
}
