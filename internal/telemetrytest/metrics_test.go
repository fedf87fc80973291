package telemetrytest

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"regexp"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware/telemetry"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

const group = "messaging.consumer.group.name"

func TestBuckets(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	orders.Subscribe(r.Bus, "billing", done)
	r.run(func() { require.NoError(t, orders.Publish(t.Context(), r, note{})) })
	for _, name := range []string{"messaging.client.operation.duration", "messaging.process.duration"} {
		data := r.metric(name).(metricdata.Histogram[float64])
		require.Equal(t, []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}, data.DataPoints[0].Bounds)
	}
}

// What applications put into reasons and types of errors must not make series without end.
func TestCardinalityIsBounded(t *testing.T) {
	r := newRig(t, telemetry.Options{})
	handle := r.tel.Handle(func(_ context.Context, d *bus.Delivery) error { return bus.DeadLetter(d.ID, nil) })
	for range 200 {
		require.Error(t, handle(t.Context(), bustest.NewEvent(t, nil, orders, note{}).Delivery))
	}
	reasons := r.sums("typedbus.dead_letter.moved", "typedbus.dead_letter.reason")
	require.Len(t, reasons, 51)
	require.EqualValues(t, 150, reasons["_OTHER"])
	require.Len(t, r.durations("messaging.process.duration", "error.type"), 51)
}

// counting is a transport that counts questions about lag, and answers them as a test wants.
type counting struct {
	*memory.Transport
	asked  atomic.Int64
	answer func(ctx context.Context, lag transport.Lag, group string) (transport.Lag, error)
}

func (c *counting) Lag(ctx context.Context, t transport.Topic, group string) (transport.Lag, error) {
	c.asked.Add(1)
	lag, err := c.Transport.Lag(ctx, t, group)
	if err != nil || c.answer == nil {
		return lag, err
	}
	return c.answer(ctx, lag, group)
}

func newCounting(t *testing.T, o telemetry.Options) (*rig, *counting) {
	c := &counting{}
	r := newRigOn(t, func(m *memory.Transport) transport.Transport { c.Transport = m; return c }, o)
	for _, g := range []string{"a", "b", "c"} {
		orders.Subscribe(r.Bus, g, func(ctx context.Context, _ *bus.Event[note]) error { <-ctx.Done(); return ctx.Err() }, bus.Concurrency(1), bus.Prefetch(1))
	}
	bustest.Start(t, r.Bus)
	return r, c
}

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := newCounting(t, telemetry.Options{})
		states := &breaker{name: "pager", state: "open"}
		registration, err := r.tel.Observe(r.Bus, states)
		require.NoError(t, err)
		for range 5 {
			require.NoError(t, orders.Publish(t.Context(), r, note{}))
		}
		require.NoError(t, orders.Publish(t.Context(), r, note{}, bus.Delay(time.Hour)))
		time.Sleep(3 * time.Second)
		synctest.Wait()

		var all metricdata.ResourceMetrics
		before := c.asked.Load()
		require.NoError(t, r.meters.Collect(t.Context(), &all))
		require.EqualValues(t, 3, c.asked.Load()-before, "one look at each group a collection, for all metrics")

		of := func(n int64) map[string]int64 { return map[string]int64{"a": n, "b": n, "c": n} }
		require.Equal(t, of(2), r.sums("typedbus.group.pending", group))
		require.Equal(t, of(3), r.sums("typedbus.group.lag", group))
		require.Equal(t, of(1), r.sums("typedbus.subscription.running", group))
		require.Equal(t, of(1), r.sums("typedbus.subscription.queued", group))
		require.Equal(t, of(0), r.sums("typedbus.subscription.paused", group))
		require.Equal(t, of(0), r.sums("typedbus.group.waiting", group))
		require.Equal(t, of(0), r.sums("typedbus.dead_letter.messages", group))
		require.Equal(t, of(0), r.sums("typedbus.dead_letter.dropped", group))
		require.Equal(t, of(0), r.sums("typedbus.leases.lost", group))
		require.Equal(t, of(0), r.sums("typedbus.losses", group))
		require.Equal(t, map[string]int64{"orders.placed": 1}, r.sums("typedbus.topic.delayed", "messaging.destination.name"))
		require.Equal(t, map[string]int64{"done": 0, "failed": 0, "deferred": 0, "dead": 0}, r.sums("typedbus.settlements", "typedbus.settlement"))
		require.Equal(t, map[string]int64{"closed": 0, "half-open": 0, "open": 1}, r.sums("typedbus.breaker.state", "typedbus.breaker.state"))
		require.Equal(t, map[string]int64{"pager": 1}, r.sums("typedbus.breaker.state", "typedbus.breaker.name"))
		oldest := r.metric("typedbus.group.oldest_pending.age").(metricdata.Gauge[float64])
		require.Len(t, oldest.DataPoints, 3)
		require.Equal(t, 3.0, oldest.DataPoints[0].Value)

		require.NoError(t, registration.Unregister())
		before = c.asked.Load()
		require.NoError(t, r.meters.Collect(t.Context(), &all))
		require.Equal(t, before, c.asked.Load())
	})
}

type breaker struct{ name, state string }

func (b *breaker) Name() string  { return b.name }
func (b *breaker) State() string { return b.state }

// What is not known is absent: 0 would say that all is well.
func TestUnknownIsAbsent(t *testing.T) {
	var complaints atomic.Int64
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) { complaints.Add(1) }))
	synctest.Test(t, func(t *testing.T) {
		r, c := newCounting(t, telemetry.Options{})
		c.answer = func(ctx context.Context, lag transport.Lag, group string) (transport.Lag, error) {
			switch group {
			case "a":
				lag.Undelivered = -1 // as Redis, after entries were deleted
			case "b":
				return transport.Lag{}, errors.New("no answer")
			}
			return lag, nil
		}
		_, err := r.tel.Observe(r.Bus)
		require.NoError(t, err)
		synctest.Wait()
		for range 3 {
			require.Equal(t, map[string]int64{"c": 0}, r.sums("typedbus.group.lag", group))
		}
		require.Equal(t, map[string]int64{"a": 0, "c": 0}, r.sums("typedbus.group.pending", group))
		require.Equal(t, map[string]int64{"a": 0, "c": 0}, r.sums("typedbus.dead_letter.messages", group))
		require.Len(t, r.metric("typedbus.group.oldest_pending.age").(metricdata.Gauge[float64]).DataPoints, 2)
		require.Equal(t, map[string]int64{"a": 0, "b": 0, "c": 0}, r.sums("typedbus.subscription.running", group), "what this process knows is there")
		require.EqualValues(t, 1, complaints.Load(), "the reason is said once")
	})
}

// A broker that does not answer holds up a collection for StatsTimeout, and costs no other metric.
func TestObserveWhileTheBrokerHangs(t *testing.T) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	synctest.Test(t, func(t *testing.T) {
		r, c := newCounting(t, telemetry.Options{StatsTimeout: 2 * time.Second})
		c.answer = func(ctx context.Context, lag transport.Lag, _ string) (transport.Lag, error) {
			<-ctx.Done()
			return lag, ctx.Err()
		}
		_, err := r.tel.Observe(r.Bus)
		require.NoError(t, err)
		require.NoError(t, orders.Publish(t.Context(), r, note{}))
		began := time.Now()
		require.Equal(t, map[string]int64{"orders.placed": 1}, r.sums("messaging.client.sent.messages", "messaging.destination.name"))
		require.Equal(t, 2*time.Second, time.Since(began))
		require.Empty(t, r.sums("typedbus.group.lag", group))
	})
}

// exposition serves what Prometheus scrapes.
func exposition(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	q := httptest.NewRequest("GET", "/metrics", nil)
	q.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, q)
	require.Equal(t, 200, w.Code)
	return w.Body.String()
}

func TestExemplarsReachPrometheus(t *testing.T) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry))
	require.NoError(t, err)
	tel := telemetry.New(telemetry.Options{
		TracerProvider: sdktrace.NewTracerProvider(),
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter)),
	})
	tr := memory.New()
	t.Cleanup(func() { require.NoError(t, tr.Close()) })
	b := bus.New(tr, bus.Use(tel.Handle), bus.UseSend(tel.Send))
	_, err = tel.Observe(b)
	require.NoError(t, err)
	orders.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[note]) error {
		return bus.DeadLetter("refused", errors.New(inError))
	})
	bustest.Start(t, b)
	require.NoError(t, orders.Publish(t.Context(), b, note{Text: inPayload}, bus.Header("x-token", inHeader)))
	bustest.Settle(t, b)
	var shown string
	require.Eventually(t, func() bool { // the hook of a settlement runs on its own
		shown = exposition(t, registry)
		return strings.Contains(shown, "typedbus_dead_letter_moved_total{")
	}, 10*time.Second, time.Millisecond)
	for _, series := range []string{
		"messaging_client_sent_messages_total", "messaging_client_consumed_messages_total", "messaging_process_duration_seconds_bucket",
		"messaging_client_operation_duration_seconds_bucket", "typedbus_dead_letter_moved_total",
	} {
		require.Regexp(t, regexp.MustCompile(`(?m)^`+series+`\{.*# \{.*trace_id="[0-9a-f]{32}"`), shown, series)
	}
	checkNoCanary(t, shown)
}

func ExampleTelemetry() {
	registry := prometheus.NewRegistry()
	exporter, _ := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo(), otelprom.WithoutTargetInfo())
	tel := telemetry.New(telemetry.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))})
	send := tel.Send(func(context.Context, transport.Topic, []*bus.Message) error { return nil })
	_ = send(context.Background(), transport.Topic{Name: "orders.placed"}, []*bus.Message{{ID: "1"}})
	families, _ := registry.Gather()
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName()+"="+l.GetValue())
		}
		sort.Strings(labels)
		fmt.Println(f.GetName(), labels)
	}
	// Output:
	// messaging_client_operation_duration_seconds [messaging_destination_name=orders.placed messaging_operation_name=send messaging_operation_type=send messaging_system=redis]
	// messaging_client_sent_messages_total [messaging_destination_name=orders.placed messaging_operation_name=send messaging_operation_type=send messaging_system=redis]
}
