package telemetry

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/transport"
)

// FuzzTraceComesBack: whatever trace is written into headers is read there as it was, and replaces what was there.
func FuzzTraceComesBack(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), []byte("01234567"), byte(1), "k=v", "00-0-0-0")
	f.Add([]byte(nil), []byte(nil), byte(0xff), "k=v,k=v", "")
	f.Add([]byte{15: 1}, []byte{7: 1}, byte(2), "", plain)
	f.Fuzz(func(t *testing.T, id, span []byte, flags byte, state, forged string) {
		c := trace.SpanContextConfig{TraceFlags: trace.TraceFlags(flags) & (trace.FlagsSampled | trace.FlagsRandom), Remote: true}
		copy(c.TraceID[:], id)
		copy(c.SpanID[:], span)
		c.TraceState, _ = trace.ParseTraceState(state)
		sc := trace.NewSpanContext(c)
		p := newPropagator(propagators[3])
		written := p.inject(trace.ContextWithSpanContext(t.Context(), sc), nil)
		all := with(transport.Headers{{Name: traceparentHeader, Value: forged}, {Name: "x", Value: forged}}, written)
		require.Equal(t, forged, all.Get("x"))
		_, got := p.extract(t.Context(), &all)
		if sc.IsValid() {
			require.Equal(t, sc, got)
			return
		}
		require.Empty(t, written, "no trace, no header")
	})
}

// FuzzParsed: what is read as a plain traceparent is written again as it was.
func FuzzParsed(f *testing.F) {
	for _, s := range []string{"", plain, plain[:54] + "0", plain[:54] + "4", "00-" + plain[4:] + "0", plain[:53] + "\xff1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if sc := parsed(value); sc.IsValid() {
			require.True(t, sc.IsRemote())
			require.Equal(t, value, traceparent(sc))
		}
	})
}
