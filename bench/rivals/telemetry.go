package rivals

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/typedbus/typedbus/bench/contest"
	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware/telemetry"
)

// typedBusTelemetry makes spans and metrics as a service in production does.
func typedBusTelemetry() contest.Rival {
	return contest.Rival{
		Name: "typedbus-telemetry",
		How:  "as typedbus, with telemetry: a batch exporter to a sink in the process, a parent-based sampler of 1 %, all metrics",
		Open: func(ctx context.Context, s contest.Setup) (contest.Session, error) {
			traces := trace.NewTracerProvider(trace.WithBatcher(sink{}), trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(0.01))))
			metrics := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(sink{})))
			t := telemetry.New(telemetry.Options{TracerProvider: traces, MeterProvider: metrics})
			session, err := onRedis(codec.JSON[contest.Event](), bus.Use(t.Handle), bus.UseSend(t.Send))(ctx, s)
			if err != nil {
				return nil, err
			}
			a := session.(*typed).app
			observed, err := t.Observe(a.bus)
			if err != nil {
				return nil, err
			}
			end := context.WithoutCancel(ctx)
			a.closed = append(a.closed, observed.Unregister, func() error { return errors.Join(traces.Shutdown(end), metrics.Shutdown(end)) })
			return session, nil
		},
	}
}

// A sink takes what is exported, and forgets it.
type sink struct{}

func (sink) ExportSpans(context.Context, []trace.ReadOnlySpan) error   { return nil }
func (sink) Export(context.Context, *metricdata.ResourceMetrics) error { return nil }
func (sink) Temporality(k metric.InstrumentKind) metricdata.Temporality {
	return metric.DefaultTemporalitySelector(k)
}
func (sink) Aggregation(k metric.InstrumentKind) metric.Aggregation {
	return metric.DefaultAggregationSelector(k)
}
func (sink) ForceFlush(context.Context) error { return nil }
func (sink) Shutdown(context.Context) error   { return nil }
