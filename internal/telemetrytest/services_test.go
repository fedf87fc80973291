package telemetrytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/internal/telemetrytest/otlptest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/telemetry"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// What is planted where no span may show it.
const (
	inPayload  = "canary-in-payload"
	inKey      = "canary-in-key"
	inHeader   = "canary-in-header"
	inError    = "canary-in-error"
	inPassword = "canary-in-password"
)

var canaries = []string{inPayload, inKey, inHeader, inError, inPassword}

type note struct {
	Order int
	Text  string
}

var (
	orders   = bus.NewTopic("orders.placed", codec.JSON[note]()).KeyedBy(func(n note) string { return inKey })
	invoices = bus.NewTopic("invoices.issued", codec.JSON[note]()).KeyedBy(func(n note) string { return inKey })
	parcels  = bus.NewTopic("parcels.sent", codec.JSON[note]()).KeyedBy(func(n note) string { return inKey })
)

// A service is a bus with all that its process would have: a client that redisotel traces, a provider that exports.
type service struct {
	*bus.Bus
	client   redis.UniversalClient
	provider *sdktrace.TracerProvider
	tr       *redisstream.Transport
}

// filtered are the options that README and package documentation recommend.
func filtered() []redisotel.TracingOption {
	return []redisotel.TracingOption{
		redisotel.WithCommandFilter(telemetry.RedisCommandFilter),
		redisotel.WithCommandsFilter(telemetry.RedisPipelineFilter),
		redisotel.WithDialFilter(true),
		redisotel.WithDBStatement(false),
	}
}

func newService(t *testing.T, name string, client redis.UniversalClient, backend *otlptest.Receiver, options []redisotel.TracingOption) *service {
	t.Helper()
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(backend.URL+"/v1/traces"))
	require.NoError(t, err)
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", name))))
	t.Cleanup(func() { require.NoError(t, provider.Shutdown(context.Background())) })

	t.Cleanup(func() { client.Close() })
	require.NoError(t, redisotel.InstrumentTracing(client, append(options, redisotel.WithTracerProvider(provider))...))
	tr := redisstream.New(client, redisstream.Options{})
	t.Cleanup(func() { require.NoError(t, tr.Close()) })

	tel := telemetry.New(telemetry.Options{TracerProvider: provider, ServerAddress: "redis.example"})
	b := bus.New(tr, bus.Use(tel.Handle), bus.UseSend(tel.Send), bus.Logger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	return &service{b, client, provider, tr}
}

func connect(server *redistest.Server) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: server.Addr, Password: inPassword})
}

// shop is three services: orders > billing > shipping > orders.
func shop(t *testing.T, backend *otlptest.Receiver, options []redisotel.TracingOption) map[string]*service {
	t.Helper()
	server := redistest.Start(t, "--requirepass", inPassword)
	services := map[string]*service{}
	for _, name := range []string{"orders", "billing", "shipping"} {
		services[name] = newService(t, name, connect(server), backend, options)
	}
	billing, shipping := services["billing"], services["shipping"]
	orders.Subscribe(billing.Bus, "billing", func(ctx context.Context, e *bus.Event[note]) error {
		if err := billing.client.Incr(ctx, "billed").Err(); err != nil { // a command of the application
			return err
		}
		return invoices.Publish(ctx, e, e.Payload, bus.Header("x-token", inHeader)) // stored with the acknowledgement
	})
	invoices.Subscribe(shipping.Bus, "shipping", func(ctx context.Context, e *bus.Event[note]) error {
		return parcels.Publish(ctx, shipping, e.Payload) // stored at once
	})
	parcels.Subscribe(services["orders"].Bus, "orders", func(context.Context, *bus.Event[note]) error { return nil })
	for _, s := range services {
		bustest.Start(t, s.Bus)
	}
	return services
}

// order publishes n orders and waits until all that follows from them is done and exported.
func order(t *testing.T, services map[string]*service, n int) {
	t.Helper()
	for i := range n {
		require.NoError(t, orders.Publish(t.Context(), services["orders"], note{i, inPayload}, bus.Header("x-token", inHeader)))
	}
	settleAll(t, services)
}

func settleAll(t *testing.T, services map[string]*service) {
	t.Helper()
	for _, name := range []string{"billing", "shipping", "orders"} {
		bustest.Settle(t, services[name].Bus)
	}
	for _, s := range services {
		require.NoError(t, s.provider.ForceFlush(t.Context()))
	}
}

func TestOneTraceForEachOrder(t *testing.T) {
	const n = 50
	backend := otlptest.Start(t)
	order(t, shop(t, backend, filtered()), n)

	spans := backend.Spans()
	traces := otlptest.Traces(spans)
	require.Equal(t, n, len(traces), "one trace for each order: %v", names(spans))
	for _, trace := range traces {
		bus := otlptest.Trace(only(trace, func(s otlptest.Span) bool { return s.Scope == scope }))
		require.Equal(t, "send orders.placed > process orders.placed > send invoices.issued > process invoices.issued > "+
			"send parcels.sent > process parcels.sent", bus.Path(), "two spans for each message, one chain")
		require.Empty(t, trace.Orphans())
		require.Len(t, trace, 7, "and the application's own command: %v", names(trace))
		incr := only(trace, func(s otlptest.Span) bool { return s.Name == "incr" })
		require.Len(t, incr, 1)
		require.Equal(t, "process orders.placed", trace.Parent(incr[0]).Name)
		for i, service := range []string{"orders", "billing", "billing", "shipping", "shipping", "orders"} {
			require.Equal(t, service, bus[i].Service)
		}
	}
	checkNoCanary(t, backend.Text())
}

// Without the filters redisotel adds spans and shows payloads: proof that the test above would fail.
func TestControlWithoutFilters(t *testing.T) {
	const n = 10
	backend := otlptest.Start(t)
	order(t, shop(t, backend, nil), n)
	spans := backend.Spans()
	assert.Greater(t, len(spans), 7*n)
	assert.Greater(t, len(otlptest.Traces(spans)), n, "with traces of its own")
	assert.Contains(t, backend.Text(), inPayload)
}

// Delays, failures, dead letters, claims, what is staged in another slot, and figures are work of the transport that must not show.
func TestTransportStaysHidden(t *testing.T) {
	t.Run("server", func(t *testing.T) {
		checkHidden(t, connect(redistest.Start(t, "--requirepass", inPassword)))
	})
	t.Run("cluster", func(t *testing.T) {
		checkHidden(t, redistest.StartCluster(t, 3, 0).Client())
	})
}

func checkHidden(t *testing.T, client redis.UniversalClient) {
	backend := otlptest.Start(t)
	s := newService(t, "all", client, backend, filtered())
	orders.Subscribe(s.Bus, "billing", func(ctx context.Context, e *bus.Event[note]) error {
		if e.Attempt < 2 {
			return errors.New(inError)
		}
		if e.Replays == 0 && e.Payload.Order%2 == 0 {
			return bus.DeadLetter("tested", errors.New(inError))
		}
		return errors.Join(
			invoices.Publish(ctx, e, e.Payload, bus.Delay(50*time.Millisecond)),
			parcels.Publish(ctx, e, e.Payload))
	}, bus.Redeliver(bus.Backoff{Min: 20 * time.Millisecond}), bus.Use(middleware.Idempotent(s.tr, middleware.IdempotentOptions{})))
	invoices.Subscribe(s.Bus, "shipping", done)
	parcels.Subscribe(s.Bus, "orders", done)
	bustest.Start(t, s.Bus)
	for i := range 6 {
		require.NoError(t, orders.Publish(t.Context(), s, note{i, inPayload}, bus.Delay(50*time.Millisecond)))
	}
	counts := map[string]int{}
	require.NoError(t, redistest.Eventually(30*time.Second, func(ctx context.Context) error { // what is staged elsewhere is on its way for a moment
		settleAll(t, map[string]*service{"orders": s, "billing": s, "shipping": s})
		clear(counts)
		for _, span := range backend.Spans() {
			counts[span.Name]++
		}
		if counts["process parcels.sent"] < 3 || counts["process invoices.issued"] < 3 {
			return fmt.Errorf("%v", counts)
		}
		return nil
	}))
	st, err := s.Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 3, st.Subscriptions[0].Lag.Dead)
	require.Equal(t, map[string]int{
		"send orders.placed": 6, "process orders.placed": 12, "dead_letter orders.placed": 3,
		"send invoices.issued": 3, "process invoices.issued": 3, "send parcels.sent": 3, "process parcels.sent": 3,
	}, counts)
	checkNoCanary(t, backend.Text())
}

const scope = "github.com/typedbus/typedbus/middleware/telemetry"

func only(spans []otlptest.Span, want func(otlptest.Span) bool) (found []otlptest.Span) {
	for _, s := range spans {
		if want(s) {
			found = append(found, s)
		}
	}
	return found
}

func names(spans []otlptest.Span) map[string]int {
	m := map[string]int{}
	for _, s := range spans {
		m[fmt.Sprintf("%s (%s)", s.Name, s.Service)]++
	}
	return m
}

func checkNoCanary(t *testing.T, text string) {
	t.Helper()
	require.NotEmpty(t, text)
	for _, canary := range canaries {
		assert.False(t, strings.Contains(text, canary), "%s shows", canary)
	}
}
