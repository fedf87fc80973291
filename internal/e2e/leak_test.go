package e2e

import (
	"context"
	"fmt"
	"strings"
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
