package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// TestNothingIsLeftAfterRunAndClose: no goroutine, no connection.
func TestNothingIsLeftAfterRunAndClose(t *testing.T) {
	s := redistest.Start(t)
	watch := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer watch.Close()
	before := connections(t, watch)
	ignore := goleak.IgnoreCurrent()

	tr, err := redisstream.Open(t.Context(), s.URL, redisstream.Options{})
	require.NoError(t, err)
	b := bus.New(tr, quiet)
	for i := range 20 {
		topic := bus.NewTopic(fmt.Sprint("topic-", i), codec.JSON[Order]())
		topic.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error { return nil })
		require.NoError(t, topic.Publish(t.Context(), b, Order{}))
		require.NoError(t, topic.Publish(t.Context(), b, Order{}, bus.Delay(10*time.Millisecond)))
	}
	stop := bustest.Start(t, b)
	bustest.Settle(t, b)
	assert.Greater(t, connections(t, watch), before)
	stop()
	require.NoError(t, tr.Close())
	require.NoError(t, tr.Close(), "twice is no error")

	goleak.VerifyNone(t, ignore)
	eventually(t, "the server to see the connections end", func() error {
		if n := connections(t, watch); n != before {
			return fmt.Errorf("%d connections, %d before", n, before)
		}
		return nil
	})
}

func connections(t *testing.T, c *redis.Client) int {
	t.Helper()
	list, err := c.ClientList(t.Context()).Result()
	require.NoError(t, err)
	return strings.Count(list, "\n")
}

// BenchmarkIdleSubscriptions reports what 200 idle subscriptions cost, in percent of one core, client and server together:
//
//	go test -run '^$' -bench Idle -benchtime 1x ./internal/e2e
func BenchmarkIdleSubscriptions(b *testing.B) {
	s := redistest.Start(b)
	tr, err := redisstream.Open(b.Context(), s.URL, redisstream.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { tr.Close() })
	app := bus.New(tr, quiet)
	for i := range 200 {
		bus.NewTopic(fmt.Sprint("topic-", i), codec.JSON[Order]()).Subscribe(app, "billing", func(context.Context, *bus.Event[Order]) error { return nil })
	}
	bustest.Start(b, app)
	c := s.Client()
	<-time.After(10 * time.Second) // they have become idle
	for b.Loop() {
		client, server, begin := ownCPU(b), serverCPU(b, c), time.Now()
		<-time.After(20 * time.Second)
		took := time.Since(begin)
		b.ReportMetric(100*float64(ownCPU(b)-client)/float64(took), "%core-client")
		b.ReportMetric(100*float64(serverCPU(b, c)-server)/float64(took), "%core-server")
	}
	b.ReportMetric(0, "ns/op")
}

// ownCPU is the processor time of this process.
func ownCPU(t testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serverCPU is the processor time of the server.
func serverCPU(t testing.TB, c *redis.Client) time.Duration {
	info, err := c.InfoMap(t.Context(), "cpu").Result()
	require.NoError(t, err)
	var sum float64
	for _, field := range []string{"used_cpu_sys", "used_cpu_user"} {
		var x float64
		_, err := fmt.Sscan(info["CPU"][field], &x)
		require.NoError(t, err)
		sum += x
	}
	return time.Duration(sum * float64(time.Second))
}
