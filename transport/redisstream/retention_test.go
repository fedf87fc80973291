package redisstream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

func TestSoftRetention(t *testing.T) {
	for name, keep := range map[string]transport.Retention{
		"length":         {MaxLen: 100},
		"age":            {MaxAge: time.Millisecond},
		"length and age": {MaxLen: 100, MaxAge: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			w := &watcher{}
			join := func(group string) *subscription {
				s, err := b.tr.Subscribe(t.Context(), transport.Topic{Name: "orders", Retention: keep}, w.group(group, 0))
				require.NoError(t, err)
				return s.(*subscription)
			}
			tended := func() int64 {
				b.tr.tend(t.Context(), []string{"orders"})
				return b.client.XLen(t.Context(), "orders").Val()
			}
			b.publish(1000)
			require.EqualValues(t, 1000, b.client.XLen(t.Context(), "orders").Val())
			fast, slow := join("fast"), join("slow")
			require.EqualValues(t, 1000, tended(), "nobody has read anything")
			settle(t, fast, transport.Done, 0, receive(t, fast, 1000)...)
			require.EqualValues(t, 1000, tended(), "the slow group has read nothing")
			ds := receive(t, slow, 500)
			settle(t, slow, transport.Done, 0, append(ds[:200:200], ds[300:]...)...)
			n := tended()
			require.LessOrEqual(t, n, int64(900))
			require.GreaterOrEqual(t, n, int64(800), "entry 200 is pending")
			settle(t, slow, transport.Done, 0, append(ds[200:300], receive(t, slow, 500)...)...)
			require.LessOrEqual(t, tended(), int64(200))
			if keep.MaxLen > 0 {
				require.GreaterOrEqual(t, tended(), int64(100))
			}
			b.publish(1)
			require.Len(t, receive(t, slow, 1), 1)
			require.Empty(t, w.warns)
			require.Empty(t, w.lost)
		})
	}
}
