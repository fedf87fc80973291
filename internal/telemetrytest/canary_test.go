package telemetrytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/telemetry"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// TestNoSecretInSpansAndMetrics lets everything fail that can, on a real server, and looks through all that was recorded. The texts
// of errors are secrets here too: without ErrorText no span has them.
func TestNoSecretInSpansAndMetrics(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { // go-redis' look for the server that was down ends a second late
		require.NoError(t, redistest.Eventually(10*time.Second, func(context.Context) error { return goleak.Find(before) }))
	})
	s := redistest.Start(t, "--requirepass", inPassword)
	admin := connect(s)
	defer admin.Close()
	tr, err := redisstream.Open(t.Context(), "redis://:"+inPassword+"@"+s.Addr, redisstream.Options{})
	require.NoError(t, err)
	defer tr.Close()
	spans, meters := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
	tel := telemetry.New(telemetry.Options{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(meters)),
		SettleSpans:    true, ServerAddress: "redis.example", StatsTimeout: time.Second,
	})
	breaker := middleware.NewBreaker(middleware.BreakerOptions{Failures: 1000})
	b := bus.New(tr, bus.UseSend(tel.Send), bus.Logger(slog.New(slog.NewTextHandler(io.Discard, nil))),
		middleware.Standard(middleware.StandardOptions{
			Telemetry: tel.Handle, Claims: tr, Breaker: breaker, Route: dlq.RouteOptions{MaxAttempts: 2},
			Retry: middleware.RetryOptions{Tries: 2, Min: time.Millisecond}, Timeout: 100 * time.Millisecond,
		}))
	_, err = tel.Observe(b, breaker)
	require.NoError(t, err)
	orders.Subscribe(b, "billing", failAs, bus.Redeliver(bus.Backoff{Min: time.Millisecond, Max: time.Millisecond}))
	stop := bustest.Start(t, b)

	token := bus.Header("x-token", inHeader)
	for n := range waysToFail {
		require.NoError(t, orders.Publish(t.Context(), b, note{n, inPayload}, token, bus.Header("baggage", "token="+inHeader)))
	}
	bad := []string{"id", "bad", "ct", "application/json", "data", inPayload, "h.traceparent", inHeader, "h.tracestate", inHeader}
	require.NoError(t, admin.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name(), Values: bad}).Err())
	bustest.Settle(t, b)

	require.Error(t, orders.Publish(t.Context(), b, note{Text: strings.Repeat(inPayload, 1<<20)}, token), "too large")
	require.NoError(t, admin.Set(t.Context(), invoices.Name(), inPayload, 0).Err())
	require.Error(t, invoices.Publish(t.Context(), b, note{Text: inPayload}, token), "wrong type")
	require.NoError(t, admin.ConfigSet(t.Context(), "maxmemory", "1").Err())
	require.Error(t, orders.Publish(t.Context(), b, note{Text: inPayload}, token), "full")
	require.NoError(t, admin.ConfigSet(t.Context(), "maxmemory", "0").Err())
	recorded := metrics(t, meters)
	s.Kill()
	require.Error(t, orders.Publish(t.Context(), b, note{Text: inPayload}, token), "server down")
	recorded += metrics(t, meters)
	s.Restart()
	stop()

	assert.Contains(t, recorded, "orders.placed")
	for _, canary := range canaries {
		assert.NotContains(t, recorded, canary, "metrics")
	}
	assert.Greater(t, len(spans.Ended()), 3*waysToFail)
	for _, span := range tracetest.SpanStubsFromReadOnlySpans(spans.Ended()) {
		text := fmt.Sprintf("%+v", span)
		for _, canary := range canaries {
			assert.NotContains(t, text, canary, span.Name)
		}
	}
}

// waysToFail is how many numbers of orders failAs knows, beside 0, which succeeds.
const waysToFail = 8

func failAs(ctx context.Context, e *bus.Event[note]) error {
	switch e.Payload.Order {
	case 1:
		return errors.New(inError)
	case 2:
		panic(e.Payload)
	case 3:
		return bus.Permanent(errors.New(inError))
	case 4:
		return bus.DeadLetter("refused", fmt.Errorf("%w: %v", errors.New(inError), e.Payload))
	case 5:
		<-ctx.Done()
		return fmt.Errorf("%s: %w", inError, ctx.Err())
	case 6:
		return orders.Publish(ctx, e, note{Text: strings.Repeat(inPayload, 1<<20)})
	case 7:
		return &quoting{inError}
	}
	return nil
}

// quoting is an error of the program with a type, which names its class.
type quoting struct{ text string }

func (q *quoting) Error() string { return q.text }

// metrics are all that is recorded, as text.
func metrics(t *testing.T, r *sdkmetric.ManualReader) string {
	t.Helper()
	var all metricdata.ResourceMetrics
	_ = r.Collect(t.Context(), &all) // with the server down it says so, and still collects
	text, err := json.Marshal(all.ScopeMetrics)
	require.NoError(t, err)
	return string(text)
}
