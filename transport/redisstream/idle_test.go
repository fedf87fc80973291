package redisstream

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// BenchmarkIdle measures what subscriptions cost that have nothing to do, in per cent of a core, here and on the server.
func BenchmarkIdle(b *testing.B) {
	for _, n := range []int{200, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			bench := newBench(b)
			ctx, cancel := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			for i := range n {
				s, err := bench.tr.Subscribe(ctx, transport.Topic{Name: fmt.Sprintf("idle.%d", i)}, transport.Group{Name: "g"})
				require.NoError(b, err)
				wg.Go(func() { _, _ = s.Receive(ctx, 10) })
			}
			pause(ctx, 12*time.Second) // until they are calm
			const window = 20 * time.Second
			here, there, commands := cpuHere(b), cpuThere(b, bench.client), calls(b, bench.client)
			pause(ctx, window)
			here, there, commands = cpuHere(b)-here, cpuThere(b, bench.client)-there, calls(b, bench.client)-commands
			b.ReportMetric(100*here.Seconds()/window.Seconds(), "%client")
			b.ReportMetric(100*there.Seconds()/window.Seconds(), "%server")
			b.ReportMetric(float64(commands)/window.Seconds(), "cmds/s")
			b.ReportMetric(0, "ns/op")
			cancel()
			wg.Wait()
		})
	}
}

func cpuHere(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func cpuThere(b *testing.B, c *redis.Client) (sum time.Duration) {
	for _, line := range strings.Fields(c.Info(b.Context(), "cpu").Val()) {
		for _, name := range []string{"used_cpu_sys:", "used_cpu_user:"} {
			if v, ok := strings.CutPrefix(line, name); ok {
				s, err := strconv.ParseFloat(v, 64)
				require.NoError(b, err)
				sum += time.Duration(s * float64(time.Second))
			}
		}
	}
	return sum
}

func calls(b *testing.B, c *redis.Client) (n int) {
	for _, line := range strings.Fields(c.Info(b.Context(), "stats").Val()) {
		if v, ok := strings.CutPrefix(line, "total_commands_processed:"); ok {
			n, _ = strconv.Atoi(v)
		}
	}
	return n
}
