package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/internal/telemetrytest/otlptest"
)

// asMain has a process of the test be the program itself, which so needs no build of its own and has the race detector.
const asMain = "OBSERVABILITY_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// command is the program with no variables of OpenTelemetry but those given.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	file, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, file, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // so that it ends its services
	cmd.WaitDelay = 20 * time.Second
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "OTEL_") }), append(env, asMain+"=1")...)
	return cmd
}

// run3 runs the three services until n orders are done, and returns what they said.
func run3(t *testing.T, env []string, n string) string {
	t.Helper()
	redis := redistest.Start(t)
	out, err := command(t, env, "-redis", redis.URL, "-n", n, "-every", "1ms").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

const scope = "github.com/typedbus/typedbus/middleware/telemetry"

func TestOrdersCanBeFollowed(t *testing.T) {
	backend := otlptest.Start(t)
	out := run3(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + backend.URL, "OTEL_METRIC_EXPORT_INTERVAL=200"}, "23")

	traces := otlptest.Traces(backend.Spans())
	require.Len(t, traces, 23, "one trace for each order")
	whole := 0
	for id, trace := range traces {
		require.Empty(t, trace.Orphans())
		require.Len(t, trace.Roots(), 1)
		require.Equal(t, "place order", trace.Roots()[0].Name)
		names := map[string]int{}
		for _, s := range trace {
			names[s.Name]++
			if s.Scope == scope {
				require.Equal(t, service(s.Name), s.Service)
			}
		}
		if names["send orders.placed"] > 1 { // published twice
			require.LessOrEqual(t, names["incr"], 1, "and charged once at most")
			continue
		}
		require.Equal(t, map[string]int{
			"place order": 1, "send orders.placed": 1, "process orders.placed": 1, "incr": 1, "send invoices.issued": 1,
			"process invoices.issued": 1, "send parcels.sent": 1, "process parcels.sent": 1,
		}, names)
		require.Equal(t, 3, strings.Count(out, "trace_id="+id), "three records of the log lead to the trace")
		whole++
	}
	require.Equal(t, 23-4, whole)
	require.NotContains(t, out, "level=ERROR")
	require.Contains(t, backend.Metrics(), "messaging.process.duration")
}

// service is whose span has a name.
func service(span string) string {
	switch span {
	case "send orders.placed", "process parcels.sent":
		return "orders"
	case "send parcels.sent", "process invoices.issued":
		return "shipping"
	}
	return "billing"
}

func TestRunsWithoutABackend(t *testing.T) {
	out := run3(t, nil, "3")
	require.Contains(t, out, "parcel sent")
	require.NotContains(t, out, "export")
	require.NotContains(t, out, "refused")

	out = run3(t, []string{"OTEL_TRACES_EXPORTER=console", "OTEL_METRICS_EXPORTER=none"}, "3")
	require.Contains(t, out, `"Name":"process invoices.issued"`)
}

func TestMistakes(t *testing.T) {
	for arg, says := range map[string]string{
		"nosuch":                           "there are orders, billing and shipping",
		"-redis=redis://u:hunter2%zz@h:1/": "-redis is no URL of a Redis",
	} {
		out, err := command(t, nil, append([]string{arg}, "orders")...).CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), says)
		require.NotContains(t, string(out), "hunter2")
	}
}

// start runs one service beside the test, until the test ends.
func start(t *testing.T, env []string, args ...string) {
	t.Helper()
	cmd := command(t, env, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		require.NoError(t, cmd.Wait(), "%s", &out)
	})
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}
