package redisstream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// what a process had counted before a loss that is told is no reason to tell it again, also to one that did not notice it.
func TestAStreamThatIsGoneIsToldOnce(t *testing.T) {
	b, w := newBench(t), &watcher{}
	s, other := b.subscribe(b.tr, w.group("g", time.Minute)), b.subscribe(b.transport(), w.group("g", time.Minute))
	tend := func() {
		b.tr.tend(t.Context(), []string{"orders"})
		other.t.tend(t.Context(), []string{"orders"})
	}
	b.publish(50)
	settle(t, s, transport.Done, 0, receive(t, s, 25)...)
	settle(t, other, transport.Done, 0, receive(t, other, 25)...)
	tend()
	require.NoError(t, b.client.FlushAll(t.Context()).Err())
	b.publish(5)
	settle(t, s, transport.Done, 0, receive(t, s, 5)...)
	b.publish(5)
	settle(t, other, transport.Done, 0, receive(t, other, 5)...)
	tend()
	require.Len(t, w.warns, 1, "%v", w.warns)
	require.NoError(t, b.client.FlushAll(t.Context()).Err())
	b.publish(1)
	settle(t, other, transport.Done, 0, receive(t, other, 1)...)
	tend()
	require.Len(t, w.warns, 2, "another loss: %v", w.warns)
}
