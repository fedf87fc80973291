package telemetry

import (
	"cmp"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/bus"
)

const scope = "github.com/typedbus/typedbus/middleware/telemetry"

// Options are the settings of a [Telemetry]. The zero value is ready.
type Options struct {
	TracerProvider trace.TracerProvider // default: the global one of package otel
	MeterProvider  metric.MeterProvider // default: the global one of package otel

	// Propagator writes the trace into headers and reads it there. Default: the global one of package otel, as it is when the
	// first event passes; if that propagates nothing, because none was set, W3C Trace Context, so that traces connect all the
	// same. Baggage travels only if the propagator takes it along: what is in it is stored with the event.
	Propagator propagation.TextMapPropagator

	System        string // attribute messaging.system; default "redis"
	ServerAddress string // attribute server.address: the host of the broker; default: left out
	ServerPort    int    // attribute server.port; default: left out

	// LinksOnly begins a new trace with each "process" span, which then only links to the span that sent the event. It is for
	// events that are handled hours later, or by thousands. Samplers then decide anew for each trace.
	LinksOnly bool
	// UntrustedProducer is LinksOnly for producers who are not to be believed: their baggage is not read, and whether they
	// sampled does not matter.
	UntrustedProducer bool

	// SettleSpans makes a span for every settlement: "ack", "retry" and "defer" beside "dead_letter". That is a third span, and a
	// goroutine, for each delivery.
	SettleSpans bool
	// ErrorText has spans of what failed describe their status with the text of the error, up to 1 KiB. Such texts may quote
	// what nobody should read; without it the class of the error is all that shows.
	ErrorText bool

	// StatsTimeout is how long [Telemetry.Observe] waits for the broker at each collection; default 5s.
	StatsTimeout time.Duration
}

// Telemetry makes spans and metrics; [New] makes one. One value may serve many buses. Its methods may be called concurrently.
type Telemetry struct {
	opts       Options
	tracer     trace.Tracer
	meter      metric.Meter
	propagator func() *propagator
	instruments
	topics sync.Map // topic name to *sendMeters
	groups sync.Map // groupName to *processMeters
}

var (
	_ bus.Middleware     = (*Telemetry)(nil).Handle
	_ bus.SendMiddleware = (*Telemetry)(nil).Send
)

// New makes a Telemetry. Instruments that the MeterProvider refuses are reported to the error handler of package otel.
func New(o Options) *Telemetry {
	o.System = cmp.Or(o.System, "redis")
	o.StatsTimeout = cmp.Or(max(o.StatsTimeout, 0), 5*time.Second)
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	t := &Telemetry{
		opts:   o,
		tracer: o.TracerProvider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
		meter:  o.MeterProvider.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)),
	}
	t.propagator = sync.OnceValue(t.choosePropagator)
	t.instruments = newInstruments(t.meter)
	return t
}
