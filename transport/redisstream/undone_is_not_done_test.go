package redisstream

import (
	"bytes"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// TestUndoneSettlementIsNotDone: a settlement had no answer, and the replica that took over had not heard of it, or not even of the
// delivery. That this consumer does not have the entry there does not mean that what it staged is stored.
func TestUndoneSettlementIsNotDone(t *testing.T) {
	rollback := func(t *testing.T, b *bench) {
		require.NoError(t, b.client.Del(t.Context(), "out").Err())
		require.NoError(t, b.client.XGroupSetID(t.Context(), "orders", "g", "0").Err())
	}
	for _, c := range []struct {
		name string
		undo func(t *testing.T, b *bench)
		want error
	}{
		{"it happened", func(*testing.T, *bench) {}, nil},
		{"never delivered", rollback, transport.ErrLeaseLost},
		{"with another consumer", func(t *testing.T, b *bench) {
			rollback(t, b)
			read := redis.XReadGroupArgs{Group: "g", Consumer: "other", Streams: []string{"orders", ">"}}
			require.NoError(t, b.client.XReadGroup(t.Context(), &read).Err())
		}, transport.ErrLeaseLost},
		{"without its group", func(t *testing.T, b *bench) {
			rollback(t, b)
			require.NoError(t, b.client.XGroupDestroy(t.Context(), "orders", "g").Err())
		}, transport.ErrLeaseLost},
	} {
		for _, renewed := range []bool{false, true} {
			t.Run(c.name+map[bool]string{true: ", and renewed"}[renewed], func(t *testing.T) {
				b := newBench(t)
				tr, proxy := b.lossy()
				w := &watcher{}
				s := b.subscribe(tr, w.group("g", time.Minute))
				b.publish(1)
				settle(t, s, transport.Dead, 0, receive(t, s, 1)...) // the server knows the script
				b.publish(1)
				out := transport.Staged{Topic: transport.Topic{Name: "out"}, Message: text2msg("1")[0]}
				st := []transport.Settlement{{Delivery: receive(t, s, 1)[0], Verdict: transport.Done, Stage: []transport.Staged{out}}}
				proxy.Lose(func(request []byte) bool { return bytes.Contains(request, []byte("eval")) })
				require.Error(t, s.Settle(t.Context(), st))
				proxy.Lose(nil)
				require.EqualValues(t, 1, b.client.XLen(t.Context(), "out").Val())
				c.undo(t, b)
				if renewed {
					require.NoError(t, s.renew(t.Context(), leaseTimeout))
				}
				assert.ErrorIs(t, s.Settle(t.Context(), st), c.want)
			})
		}
	}
}
