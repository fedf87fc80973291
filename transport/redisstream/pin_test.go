package redisstream

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// a group that nobody reads is named, with what to do, once an hour; one that is read is not.
func TestAbandonedGroupIsNamed(t *testing.T) {
	b, w := newBench(t), &watcher{}
	var log strings.Builder
	b.tr = New(b.client, Options{Warn: func(err error) { log.WriteString(err.Error() + "\n") }})
	defer b.tr.Close()
	topic := transport.Topic{Name: "orders", Retention: transport.Retention{MaxLen: 10}}
	x, err := b.tr.Subscribe(t.Context(), topic, w.group("g", 0))
	require.NoError(t, err)
	s := x.(*subscription)
	b.publish(500)
	require.NoError(t, b.client.XGroupCreate(t.Context(), "orders", "old", "0").Err())
	settle(t, s, transport.Done, 0, receive(t, s, 500)...)
	said := func() int { return strings.Count(log.String(), "the group old has not read") }
	age := func(d time.Duration) { // as if that had passed
		b.tr.tending.turn.Lock()
		defer b.tr.tending.turn.Unlock()
		p := &b.tr.tending.topics["orders"].pin
		p.since, p.said = p.since.Add(-d), p.said.Add(-d)
	}
	tend := func() {
		b.tr.tend(t.Context(), []string{"orders"})
		require.EqualValues(t, 500, b.client.XLen(t.Context(), "orders").Val(), "nothing of it is removed")
	}
	tend()
	require.Zero(t, said(), "it may be about to begin")
	age(pinAfter)
	tend()
	tend()
	require.Equal(t, 1, said(), log.String())
	require.Contains(t, log.String(), "500 entries behind")
	require.Contains(t, log.String(), "XGROUP DESTROY orders old")
	age(pinEvery)
	tend()
	require.Equal(t, 2, said())

	require.NoError(t, b.client.Do(t.Context(), "xreadgroup", "group", "old", "someone", "count", 1, "streams", "orders", ">").Err())
	age(pinEvery / 2)
	tend()
	age(pinEvery / 2)
	tend()
	require.Equal(t, 2, said(), "it is read")

	require.NoError(t, b.client.XGroupDestroy(t.Context(), "orders", "old").Err())
	b.tr.tend(t.Context(), []string{"orders"})
	require.Less(t, b.client.XLen(t.Context(), "orders").Val(), int64(200))
	require.Empty(t, b.tr.tending.topics["orders"].pin.group)
}
