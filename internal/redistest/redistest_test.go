package redistest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestServerKeepsItsDataAcrossAKill(t *testing.T) {
	s := Start(t, "--appendonly", "yes", "--appendfsync", "always")
	c, ctx := s.Client(), t.Context()
	require.NoError(t, c.Set(ctx, "k", "v", 0).Err())
	s.Kill()
	require.Zero(t, s.Pid())
	s.Restart()
	require.NoError(t, Eventually(5*time.Second, func(ctx context.Context) error { return c.Ping(ctx).Err() }))
	require.Equal(t, "v", c.Get(ctx, "k").Val())
}

func TestPausedServerDoesNotAnswer(t *testing.T) {
	s := Start(t)
	c := redis.NewClient(&redis.Options{Addr: s.Addr, ReadTimeout: 100 * time.Millisecond, MaxRetries: -1})
	defer c.Close()
	require.NoError(t, c.Ping(t.Context()).Err())
	s.Pause()
	require.Error(t, c.Ping(t.Context()).Err())
	s.Resume()
	require.NoError(t, c.Ping(t.Context()).Err())
}

func TestTLS(t *testing.T) {
	require.NoError(t, StartTLS(t).Client().Ping(t.Context()).Err())
}

func TestClusterServesAllSlots(t *testing.T) {
	c := StartCluster(t, 3, 1)
	require.Len(t, c.Nodes, 6)
	cl := c.Client()
	for _, k := range []string{"a", "b", "c", "d", "e", "f"} {
		require.NoError(t, cl.Set(t.Context(), k, "v", 0).Err())
	}
}

func TestSentinelPromotesTheReplica(t *testing.T) {
	s := StartSentinel(t)
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.MasterName, SentinelAddrs: []string{s.Watcher.Addr}})
	defer c.Close()
	require.NoError(t, c.Set(t.Context(), "k", "v", 0).Err())
	require.NoError(t, Eventually(5*time.Second, func(ctx context.Context) error { return s.Replica.Client().Get(ctx, "k").Err() }))
	s.Master.Kill()
	require.NoError(t, Eventually(20*time.Second, func(ctx context.Context) error { return c.Set(ctx, "k", "w", 0).Err() }))
	require.Equal(t, "w", s.Replica.Client().Get(t.Context(), "k").Val())
}

func TestSentinelGoesToAndFro(t *testing.T) {
	s := StartSentinel(t)
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.MasterName, SentinelAddrs: []string{s.Watcher.Addr}})
	defer c.Close()
	ctx := t.Context()
	first := s.Master
	require.NoError(t, c.Set(ctx, "k", "first", 0).Err())
	require.Equal(t, int64(1), s.Master.Client().Wait(ctx, 1, 5*time.Second).Val())

	s.Link().BlackHole(true)
	require.NoError(t, c.Set(ctx, "k", "cut off", 0).Err())
	s.Master.Kill()
	s.Link().Cut() // what the proxy has not read yet must not get through after all
	s.Link().BlackHole(false)
	s.AwaitFailover()
	require.NotEqual(t, first, s.Master)
	require.NoError(t, Eventually(20*time.Second, func(ctx context.Context) error { return c.Get(ctx, "k").Err() }))
	require.Equal(t, "first", c.Get(ctx, "k").Val(), "what the replica did not have is gone")

	s.Rejoin()
	require.NoError(t, c.Set(ctx, "k", "second", 0).Err())
	require.NoError(t, Eventually(5*time.Second, func(ctx context.Context) error {
		if v := first.Client().Get(ctx, "k").Val(); v != "second" {
			return errors.New(v)
		}
		return nil
	}))
	s.Master.Kill()
	s.AwaitFailover()
	require.Equal(t, first, s.Master)
	require.NoError(t, Eventually(20*time.Second, func(ctx context.Context) error { return c.Set(ctx, "k", "third", 0).Err() }))
	require.Equal(t, "third", first.Client().Get(ctx, "k").Val())
}

func TestProxyLosesAnswers(t *testing.T) {
	s := Start(t)
	p := NewProxy(t, s.Addr)
	c := redis.NewClient(&redis.Options{Addr: p.Addr, ReadTimeout: 200 * time.Millisecond, MaxRetries: -1})
	defer c.Close()
	ctx := t.Context()
	require.NoError(t, c.Ping(ctx).Err())

	p.Lose(func(b []byte) bool { return bytes.Contains(b, []byte("incr")) })
	require.Error(t, c.Incr(ctx, "n").Err())
	p.Lose(nil)
	require.Equal(t, 1, p.Lost())
	require.Equal(t, "1", c.Get(ctx, "n").Val(), "the server did it")

	p.SwallowReplies(true)
	require.Error(t, c.Incr(ctx, "n").Err())
	p.SwallowReplies(false)
	require.Equal(t, "2", c.Get(ctx, "n").Val())

	p.BlackHole(true)
	require.Error(t, c.Incr(ctx, "n").Err())
	p.BlackHole(false)
	p.Cut()
	require.Equal(t, "2", c.Get(ctx, "n").Val(), "the server never saw it")

	p.Strand()
	require.Error(t, c.Incr(ctx, "n").Err())
	require.Equal(t, "2", c.Get(ctx, "n").Val(), "a new connection works")

	p.Refuse(true)
	p.Cut()
	require.Error(t, c.Ping(ctx).Err())
}

func TestProxyMakesANetworkBad(t *testing.T) {
	s := Start(t)
	p := NewProxy(t, s.Addr)
	c := redis.NewClient(&redis.Options{Addr: p.Addr, MaxRetries: -1})
	defer c.Close()
	ctx := t.Context()
	long := strings.Repeat("long ", 500)
	require.NoError(t, c.Set(ctx, "k", long, 0).Err())

	p.Slice(100)
	require.Equal(t, long, c.Get(ctx, "k").Val())
	p.Slice(0)

	p.Jitter(50*time.Millisecond, 40*time.Millisecond)
	began := time.Now()
	require.Equal(t, long, c.Get(ctx, "k").Val())
	require.GreaterOrEqual(t, time.Since(began), 10*time.Millisecond)
	p.Jitter(0, 0)

	conn, err := net.Dial("tcp", p.Addr)
	require.NoError(t, err)
	defer conn.Close()
	p.Reset(func(reply []byte) bool { return bytes.Contains(reply, []byte("long")) })
	_, err = conn.Write([]byte("GET k\r\n"))
	require.NoError(t, err)
	part, err := io.ReadAll(conn)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.NotEmpty(t, part)
	require.Less(t, len(part), len(long))
	require.Error(t, c.Get(ctx, "k").Err())
	p.Reset(nil)
	require.Equal(t, 2, p.Resets())
	require.Equal(t, long, c.Get(ctx, "k").Val())
}

func TestEventuallyReturnsTheLastError(t *testing.T) {
	last := errors.New("still not")
	require.ErrorIs(t, Eventually(20*time.Millisecond, func(context.Context) error { return last }), last)
}

func TestMoveSlotMovesKeysAndSlot(t *testing.T) {
	c := StartCluster(t, 2, 0)
	cl := c.Client()
	require.NoError(t, cl.Set(t.Context(), "k", "v", 0).Err())
	before, err := cl.MasterForKey(t.Context(), "k")
	require.NoError(t, err)
	c.MoveSlot("k")
	require.Equal(t, "v", cl.Get(t.Context(), "k").Val())
	addr, moved := redis.IsMovedError(before.Get(t.Context(), "k").Err())
	require.True(t, moved)
	require.NotEqual(t, before.Options().Addr, addr)
}
