package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/internal/childtest"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

type Order struct{ N int }

var (
	orders   = bus.NewTopic("orders.placed", codec.JSON[Order]())
	invoices = bus.NewTopic("invoices.issued", codec.JSON[Order]())
)

// children are what a child process of the test binary can be, by their name. They get the URL of a Redis and
// report on standard output, a line each.
var children = map[string]func(ctx context.Context, b *bus.Bus, tr *redisstream.Transport){
	"hang":       subscribeHanging,
	"work":       subscribeWorking,
	"stage":      subscribeStaging,
	"stage once": subscribeStagingOnce,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childtest.Name); name != "" {
		runChild(children[name], os.Getenv("TYPEDBUS_URL"))
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/redis/go-redis/v9/internal/pool.startGlobalTimeCache.func1"))
}

func runChild(subscribe func(context.Context, *bus.Bus, *redisstream.Transport), url string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	tr, err := redisstream.Open(ctx, url, redisstream.Options{})
	if err == nil {
		defer tr.Close()
		b := bus.New(tr, bus.Logger(slog.New(slog.DiscardHandler)))
		subscribe(ctx, b, tr)
		err = b.Run(ctx)
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

// A child is a process of the test binary.
type child struct{ *childtest.Process }

func start(t *testing.T, name, url string) child {
	t.Helper()
	return child{childtest.Start(t, name, "TYPEDBUS_URL="+url)}
}

// await returns the next line that begins with prefix.
func (c child) await(t *testing.T, prefix string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-c.Lines:
			require.True(t, ok, "the process ended before it printed %q", prefix)
			if strings.HasPrefix(line, prefix) {
				return line
			}
		case <-timeout:
			require.Fail(t, "timeout", "waiting for %q", prefix)
		}
	}
}

// setup is a server and a transport on it.
func setup(t *testing.T, args ...string) (*redistest.Server, *redisstream.Transport) {
	t.Helper()
	s := redistest.Start(t, args...)
	return s, open(t, s)
}

func open(t *testing.T, s *redistest.Server) *redisstream.Transport {
	t.Helper()
	tr, err := redisstream.Open(t.Context(), s.URL, redisstream.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { tr.Close() })
	return tr
}

// eventually waits until check returns nil, and fails with its last error otherwise.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	err := redistest.Eventually(patience, func(context.Context) error { return check() })
	require.NoError(t, err, "waiting for %s", what)
}

// nothingLeft waits until a group has nothing to do.
func nothingLeft(t *testing.T, tr *redisstream.Transport, topic, group string) {
	t.Helper()
	eventually(t, group+" to have nothing left", func() error {
		lag, err := tr.Lag(t.Context(), transport.Topic{Name: topic}, group)
		if err == nil && lag.Undelivered+lag.Pending+lag.Waiting != 0 {
			err = fmt.Errorf("%+v", lag)
		}
		return err
	})
}

// logLines is a log that a test can read.
type logLines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logLines) option() bus.Option { return bus.Logger(slog.New(slog.NewTextHandler(l, nil))) }

var quiet = bus.Logger(slog.New(slog.DiscardHandler))

// xlen is how many entries a stream has.
func xlen(t *testing.T, c *redis.Client, key string) int64 {
	t.Helper()
	n, err := c.XLen(t.Context(), key).Result()
	require.NoError(t, err)
	return n
}
