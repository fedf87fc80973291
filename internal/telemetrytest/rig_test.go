package telemetrytest

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware/telemetry"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// A rig is a bus in memory whose spans and metrics a test can look at.
type rig struct {
	*bus.Bus
	t      *testing.T
	tr     *memory.Transport
	tel    *telemetry.Telemetry
	spans  *tracetest.SpanRecorder
	meters *sdkmetric.ManualReader
}

// newRig makes a bus with telemetry around mws.
func newRig(t *testing.T, o telemetry.Options, mws ...bus.Middleware) *rig {
	return newRigOn(t, nil, o, mws...)
}

// newRigOn has the bus use a transport in place of that of the rig.
func newRigOn(t *testing.T, around func(*memory.Transport) transport.Transport, o telemetry.Options, mws ...bus.Middleware) *rig {
	t.Helper()
	r := &rig{t: t, tr: memory.New(), spans: tracetest.NewSpanRecorder(), meters: sdkmetric.NewManualReader()}
	t.Cleanup(func() { require.NoError(t, r.tr.Close()) })
	if o.TracerProvider == nil {
		o.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans))
	}
	o.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.meters))
	r.tel = telemetry.New(o)
	tr := transport.Transport(r.tr)
	if around != nil {
		tr = around(r.tr)
	}
	r.Bus = bus.New(tr, bus.Use(append([]bus.Middleware{r.tel.Handle}, mws...)...), bus.UseSend(r.tel.Send), bus.Logger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	return r
}

// run handles events until all are settled, and drains.
func (r *rig) run(publish func()) {
	r.t.Helper()
	stop := bustest.Start(r.t, r.Bus)
	publish()
	bustest.Settle(r.t, r.Bus)
	stop()
}

// named are the ended spans of a name, in the order in which they began.
func (r *rig) named(name string) (found []sdktrace.ReadOnlySpan) {
	for _, s := range r.spans.Ended() {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	return found
}

// one is the only span of a name.
func (r *rig) one(name string) sdktrace.ReadOnlySpan {
	r.t.Helper()
	found := r.named(name)
	require.Len(r.t, found, 1, "spans %q", name)
	return found[0]
}

// metric is the data of a metric, nil if nothing was recorded.
func (r *rig) metric(name string) metricdata.Aggregation {
	r.t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(r.t, r.meters.Collect(context.Background(), &all))
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name == name {
				return m.Data
			}
		}
	}
	return nil
}

// sums are the values of a counter or gauge by one of its attributes; "" for points that do not have it.
func (r *rig) sums(name string, by attribute.Key) map[string]int64 {
	r.t.Helper()
	var points []metricdata.DataPoint[int64]
	switch data := r.metric(name).(type) {
	case metricdata.Sum[int64]:
		points = data.DataPoints
	case metricdata.Gauge[int64]:
		points = data.DataPoints
	}
	m := map[string]int64{}
	for _, p := range points {
		v, _ := p.Attributes.Value(by)
		m[v.String()] += p.Value
	}
	return m
}

// durations are the counts of a histogram by one of its attributes; "" for points that do not have it.
func (r *rig) durations(name string, by attribute.Key) map[string]uint64 {
	r.t.Helper()
	m := map[string]uint64{}
	data, _ := r.metric(name).(metricdata.Histogram[float64])
	for _, p := range data.DataPoints {
		v, _ := p.Attributes.Value(by)
		m[v.String()] += p.Count
	}
	return m
}

// text shows attributes by name.
func text(as []attribute.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range as {
		m[string(a.Key)] = a.Value.String()
	}
	return m
}
