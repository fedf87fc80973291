package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/transport"
)

// TestBadEntriesStopNothingAndAreKept: each of them stands between good ones.
func TestBadEntriesStopNothingAndAreKept(t *testing.T) {
	t.Parallel()
	s, tr := setup(t)
	bad := [][]any{
		{"id", "undecodable", "ct", "application/json", "data", "{secret"},
		{"id", "no data", "ct", "application/json"},
		{"colour", "blue"},
		{"id", "5 MB", "ct", "application/json", "data", `{"N":1,"x":"` + strings.Repeat("x", 5<<20) + `"}`},
		{"id", "foreign", "ct", "application/x-foreign", "data", "x"},
		{"id", "bomb", "ct", "application/msgpack", "data", "\xdd\xff\xff\xff\xff"},
	}
	many := []any{"id", "many fields"}
	for i := range 10000 {
		many = append(many, fmt.Sprint("field", i), "x")
	}
	bad = append(bad, many)
	var log logLines
	b := bus.New(tr, log.option())
	got := &handled{at: map[int]time.Time{}}
	orders.Subscribe(b, "billing", got.handle, bus.Concurrency(1))
	c := s.Client()
	for i, entry := range bad {
		require.NoError(t, orders.Publish(t.Context(), b, Order{N: i}))
		require.NoError(t, c.XAdd(t.Context(), &redis.XAddArgs{Stream: "orders.placed", Values: entry}).Err())
	}
	require.NoError(t, orders.Publish(t.Context(), b, Order{N: len(bad)}))
	bustest.Start(t, b)
	eventually(t, "the good ones", func() error { return got.all(len(bad) + 1) })

	eventually(t, "the bad ones to wait for somebody to look at them", func() error {
		lag, err := tr.Lag(t.Context(), transport.Topic{Name: "orders.placed"}, "billing")
		if err == nil && (lag.Waiting != int64(len(bad)) || lag.Pending != 0) {
			err = fmt.Errorf("%+v", lag)
		}
		return err
	})
	assert.Equal(t, len(bad), sayings(log.String(), "level=ERROR", "permanent failure"), "each is said aloud:\n%.3000s", log.String())
	assert.NotContains(t, log.String(), "secret")
}
