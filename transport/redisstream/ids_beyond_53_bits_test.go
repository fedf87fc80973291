package redisstream

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// positions beyond 53 bits: nanoseconds as ids, as foreign streams have.
func TestNanosecondIDs(t *testing.T) {
	b := newBench(t)
	topic := transport.Topic{Name: "orders", Retention: transport.Retention{MaxLen: 1}}
	w := &watcher{}
	x, err := b.tr.Subscribe(bounded(t), topic, w.group("g", 0))
	require.NoError(t, err)
	s := x.(*subscription)
	base := uint64(1790000000000000000)
	for base%256 != 129 {
		base++
	}
	for i := range 400 {
		require.NoError(t, b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: "orders", ID: fmt.Sprintf("%d-0", base-99+uint64(i)), Values: []string{"data", "x"}}).Err())
	}
	ds := receive(t, s, 400)
	// all but the one with id base, the last of the first node
	settle(t, s, transport.Done, 0, append(ds[:99:99], ds[100:]...)...)
	b.tr.tend(t.Context(), []string{"orders"})
	first, err := b.client.XRangeN(t.Context(), "orders", "-", "+", 1).Result()
	require.NoError(t, err)
	t.Logf("pending %v, first %s, cursor %s", b.client.XPending(t.Context(), "orders", "g").Val(), first[0].ID, b.client.Get(t.Context(), "{orders}:g:cursor").Val())
	assert.LessOrEqual(t, first[0].ID, fmt.Sprintf("%d-0", base))
}
