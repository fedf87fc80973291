package redisstream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// what a destroyed group has not acknowledged is not trimmed while its consumers are about to make it again.
func TestDestroyedGroupIsNotTrimmed(t *testing.T) {
	b := newBench(t)
	topic := transport.Topic{Name: "orders", Retention: transport.Retention{MaxLen: 10}}
	wa, wb := &watcher{}, &watcher{}
	x, err := b.tr.Subscribe(bounded(t), topic, wa.group("a", 0))
	require.NoError(t, err)
	y, err := b.tr.Subscribe(bounded(t), topic, wb.group("b", 0))
	require.NoError(t, err)
	sa, sb := x.(*subscription), y.(*subscription)
	b.publish(1000)
	held := receive(t, sb, 1) // it is busy
	_ = held
	b.tr.tend(t.Context(), []string{"orders"}) // cursors
	require.NoError(t, b.client.XGroupDestroy(t.Context(), "orders", "b").Err())
	settle(t, sa, transport.Done, 0, receive(t, sa, 1000)...)
	b.tr.tend(t.Context(), []string{"orders"})
	ds, err := sb.Receive(within(t, 3*time.Second), 1000)
	require.NoError(t, err)
	t.Log(wb.warns)
	assert.GreaterOrEqual(t, len(ds), 1000)
}
