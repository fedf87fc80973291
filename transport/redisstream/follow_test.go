package redisstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// a failover by hand leaves the old master as it is for ten seconds. Nobody may go on with it.
func TestAllFollowTheMaster(t *testing.T) {
	s := redistest.StartSentinel(t)
	leakFree(t)
	tr, err := Open(bounded(t), s.URL, Options{})
	require.NoError(t, err)
	defer tr.Close()
	alone := transport.Topic{Name: "alone"}
	durable := transport.Topic{Name: "durable", Durable: transport.Durability{Replicas: 1, Timeout: 100 * time.Millisecond}}
	sub, err := tr.Subscribe(bounded(t), transport.Topic{Name: "read"}, transport.Group{Name: "g", Lease: time.Minute})
	require.NoError(t, err)
	require.NoError(t, tr.Publish(bounded(t), alone, text2msg("x")))
	_ = tr.Publish(bounded(t), durable, text2msg("x")) // the replica may not follow yet

	require.NoError(t, s.Watcher.Client().Do(t.Context(), "sentinel", "failover", s.MasterName).Err())
	old := s.Master.Client()
	s.AwaitFailover()
	now := s.Master.Client()
	require.NoError(t, redistest.Eventually(5*time.Second, func(ctx context.Context) error {
		_ = tr.Publish(ctx, alone, text2msg("x"))
		_ = tr.Publish(ctx, durable, text2msg("x"))
		if now.XLen(ctx, "alone").Val() < 2 || now.XLen(ctx, "durable").Val() < 2 {
			return errors.New("publishes go to the old master")
		}
		return nil
	}))
	require.NoError(t, now.XAdd(t.Context(), &redis.XAddArgs{Stream: "read", Values: []string{"id", "1", "data", "x"}}).Err())
	require.NoError(t, redistest.Eventually(5*time.Second, func(ctx context.Context) error {
		_, err := sub.Receive(ctx, 1) // the first fails, if its connection was closed
		return err
	}))
	require.Contains(t, old.Info(t.Context(), "replication").Val(), "role:master", "it was not told meanwhile")
	require.NoError(t, sub.Close(bounded(t)))
}

// the master dies, and consumers are stopped before there is another: they wait for it, and then give back what they hold.
func TestCloseWaitsForTheNextMaster(t *testing.T) {
	s := redistest.StartSentinel(t)
	leakFree(t)
	tr, err := Open(bounded(t), s.URL, Options{})
	require.NoError(t, err)
	defer tr.Close()
	group := transport.Group{Name: "g", Lease: time.Minute}
	sub, err := tr.Subscribe(bounded(t), orders, group)
	require.NoError(t, err)
	require.NoError(t, tr.Publish(bounded(t), orders, text2msg("x")))
	_, err = sub.Receive(bounded(t), 1)
	require.NoError(t, err)
	inSync(t, s)

	s.Master.Kill()
	require.NoError(t, sub.Close(bounded(t)))
	s.AwaitFailover()
	require.Empty(t, s.Master.Client().XInfoConsumers(t.Context(), tr.keys(orders.Name).stream, "g").Val(), "it left the group")
	next, err := tr.Subscribe(bounded(t), orders, group)
	require.NoError(t, err)
	defer next.Close(bounded(t))
	got, err := next.Receive(bounded(t), 1)
	require.NoError(t, err)
	require.Len(t, got, 1, "what was held was given back")
}

// inSync waits until the replica has what the master has.
func inSync(t *testing.T, s *redistest.Sentinel) {
	t.Helper()
	require.NoError(t, redistest.Eventually(5*time.Second, func(ctx context.Context) error {
		c := s.Master.Client()
		if err := c.Set(ctx, "last", "x", 0).Err(); err != nil {
			return err
		}
		return s.Replica.Client().Get(ctx, "last").Err()
	}))
}

func TestWhatIsAnotherServer(t *testing.T) {
	for _, c := range []struct {
		a, b   string
		differ bool
	}{
		{"10.0.0.1:6379", "10.0.0.1:6379", false},
		{"10.0.0.1:6379", "10.0.0.2:6379", true},
		{"10.0.0.1:6379", "10.0.0.1:6380", true},
		{"10.0.0.1:6379", "[::ffff:10.0.0.1]:6379", false},
		{"127.0.0.1:6379", "[::1]:6379", false},
		{"127.0.0.1:6379", "[::1]:6380", true},
	} {
		a, b := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.a)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.b))
		assert.Equal(t, c.differ, differ(a, b), "%v", c)
		assert.Equal(t, c.differ, differ(b, a), "%v", c)
	}
}
