package telemetry

import (
	"slices"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// starts keeps the options of starting spans that differ in a few attributes only. Most spans are not sampled, and so start and
// are done; options made anew for each would cost more than that.
type starts struct{ free sync.Pool }

// start is a set of options. Tracers read options while they start a span and copy what they keep, so a set can be used again.
type start struct {
	own     []attribute.KeyValue // those that differ
	options []trace.SpanStartOption
}

// newStarts makes room for n attributes after those that are always the same.
func newStarts(same []attribute.KeyValue, n int) *starts {
	return &starts{sync.Pool{New: func() any {
		as := slices.Grow(slices.Clone(same), n)[:len(same)+n]
		options := append(make([]trace.SpanStartOption, 0, 4), trace.WithAttributes(as...))
		return &start{own: as[len(same):], options: options}
	}}}
}

func (s *starts) get() *start  { return s.free.Get().(*start) }
func (s *starts) put(o *start) { s.free.Put(o) }
