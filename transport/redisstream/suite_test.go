package redisstream

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/transporttest"
)

// TestContract executes the contract of package transport on a real server. Each clause reaches it through a proxy of its own,
// which can be cut.
func TestContract(t *testing.T) {
	server := redistest.Start(t)
	transporttest.Run(t, transporttest.Harness{
		Broker: func(t testing.TB) transporttest.Broker { return contractBroker(t, server) },
	})
}

func contractBroker(t testing.TB, server *redistest.Server) transporttest.Broker {
	proxy := redistest.NewProxy(t, server.Addr)
	raw := server.Client()
	ctx := context.Background() // cleanups use it
	return transporttest.Broker{
		Open: func() transport.Transport {
			client := redis.NewClient(&redis.Options{Addr: proxy.Addr})
			t.Cleanup(func() { client.Close() })
			tr := New(client, Options{})
			tr.tends.first, tr.tends.tick, tr.tends.idle = time.Second, time.Second, time.Second // several looks within Patience
			return tr
		},
		Crash: func(s transport.Subscription) { s.(*subscription).crash() },
		Stall: func(s transport.Subscription) func() { return s.(*subscription).stall() },
		Outage: func() func() {
			proxy.Refuse(true)
			proxy.Cut()
			return func() { proxy.Refuse(false) }
		},
		Inject: func(tp transport.Topic) {
			require.NoError(t, raw.XAdd(ctx, &redis.XAddArgs{Stream: tp.Name, Values: []string{"some", "thing"}}).Err())
		},
		Position: func(tp transport.Topic, n int) string {
			es, err := raw.XRangeN(ctx, tp.Name, "-", "+", int64(n)+1).Result()
			require.NoError(t, err)
			require.Len(t, es, n+1)
			return es[n].ID
		},
		Stored: func(tp transport.Topic) int { return int(raw.XLen(ctx, tp.Name).Val()) },
	}
}
