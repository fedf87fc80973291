package dlq_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/internal/childtest"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
	"github.com/typedbus/typedbus/transport/redisstream"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(childtest.Name); name != "" {
		runChild(children[name], os.Getenv("TYPEDBUS_URL"))
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/redis/go-redis/v9/internal/pool.startGlobalTimeCache.func1"))
}

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

type Order struct {
	ID    string
	Cents int
}

var orders = bus.NewTopic("orders.placed", codec.JSON[Order]()).KeyedBy(func(o Order) string { return o.ID })

var (
	quiet   = bus.Logger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	quickly = bus.Redeliver(bus.Backoff{Min: time.Millisecond, Max: 5 * time.Millisecond})
	errCard = errors.New("the card was declined")
)

// onBoth runs a test with memory, on virtual time, and on Redis.
func onBoth(t *testing.T, test func(t *testing.T, tr transport.Transport)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		bubble(t, func(t *testing.T, tr *memory.Transport) { test(t, tr) })
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, redistest.Start(t).URL))
	})
}

func bubble(t *testing.T, test func(t *testing.T, tr *memory.Transport)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		t.Cleanup(func() { assert.NoError(t, tr.Close()) })
		test(t, tr)
	})
}

func open(t *testing.T, url string) *redisstream.Transport {
	t.Helper()
	tr, err := redisstream.Open(t.Context(), url, redisstream.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { tr.Close() })
	return tr
}

// queue is the dead letters of the group of these tests.
func queue(tr transport.Transport) *dlq.Queue {
	return dlq.NewQueue(tr, orders.Name(), "billing", dlq.QueueOptions{Who: "tester"})
}

// letters returns what matches.
func letters(t *testing.T, q *dlq.Queue, f dlq.Filter) (ls []*dlq.Letter) {
	t.Helper()
	for l, err := range q.All(t.Context(), f) {
		require.NoError(t, err)
		ls = append(ls, l)
	}
	return ls
}

// keys tell letters apart in tests: a corpse is published with its name as key.
func keys(ls []*dlq.Letter) []string {
	names := make([]string, len(ls))
	for i, l := range ls {
		names[i] = l.Key
	}
	return names
}

func count(t *testing.T, q *dlq.Queue, want int64) {
	t.Helper()
	n, err := q.Count(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, n)
}

// A corpse is a message to be, and what it dies of.
type corpse struct {
	name, body  string
	headers     transport.Headers
	reason, err string
}

func named(n int) (cs []corpse) {
	for i := range n {
		cs = append(cs, corpse{name: fmt.Sprint(i)})
	}
	return cs
}

// bury makes letters of these, in this order.
func bury(t *testing.T, tr transport.Transport, cs ...corpse) {
	t.Helper()
	ctx, topic := t.Context(), transport.Topic{Name: orders.Name()}
	sub, err := tr.Subscribe(ctx, topic, transport.Group{Name: "billing"})
	require.NoError(t, err)
	defer func() { require.NoError(t, sub.Close(context.WithoutCancel(ctx))) }()
	var ms []*transport.Message
	dies := map[string]corpse{}
	for _, c := range cs {
		m := &transport.Message{ID: transport.NewID(), Key: c.name, Headers: c.headers, Body: []byte(c.body), ContentType: "application/json"}
		ms, dies[m.ID] = append(ms, m), c
	}
	require.NoError(t, tr.Publish(ctx, topic, ms))
	for left := len(cs); left > 0; {
		ds, err := sub.Receive(ctx, left)
		require.NoError(t, err)
		left -= len(ds)
		var ss []transport.Settlement
		for _, d := range ds {
			ss = append(ss, transport.Settlement{Delivery: d, Verdict: transport.Dead, Reason: dies[d.ID].reason, Error: dies[d.ID].err})
		}
		require.NoError(t, sub.Settle(ctx, ss))
	}
}

// eventually waits until check returns nil, and fails with its last error otherwise.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	err := redistest.Eventually(patience, func(context.Context) error { return check() })
	require.NoError(t, err, "waiting for %s", what)
}
