package redisstream

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// soft retention frees memory also when there is none.
func TestTrimWhenFull(t *testing.T) {
	b := newBench(t)
	topic := transport.Topic{Name: "orders", Retention: transport.Retention{MaxLen: 100}}
	w := &watcher{}
	x, err := b.tr.Subscribe(bounded(t), topic, w.group("g", 0))
	require.NoError(t, err)
	s := x.(*subscription)
	b.publish(5000)
	ds := receive(t, s, 2000)
	require.NoError(t, b.client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	for len(ds) < 5000 {
		ds = append(ds, receive(t, s, 1000)...)
	}
	settle(t, s, transport.Done, 0, ds...)
	b.tr.tend(t.Context(), []string{"orders"})
	assert.LessOrEqual(t, b.client.XLen(t.Context(), "orders").Val(), int64(300))
}
