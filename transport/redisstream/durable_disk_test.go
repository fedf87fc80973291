package redisstream

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

func onDisk(replicas int, timeout time.Duration) transport.Topic {
	return transport.Topic{Name: "orders.placed", Durable: transport.Durability{Replicas: replicas, OnDisk: true, Timeout: timeout}}
}

// flushing is a server that has WAITAOF; the test is skipped where there is none.
func flushing(t *testing.T, args ...string) *redistest.Server {
	s := redistest.Start(t, args...)
	if n, err := s.Client().Do(t.Context(), "command", "info", "waitaof").Slice(); err != nil || len(n) == 0 || n[0] == nil {
		t.Skip("this server has no WAITAOF (Redis 7.2): make matrix runs the test on servers that have it")
	}
	return s
}

func TestOnDiskWithoutTheCommand(t *testing.T) {
	s := redistest.Start(t)
	if s.Client().Do(t.Context(), "waitaof", 0, 0, 1).Err() == nil {
		s = redistest.Start(t, "--rename-command", "waitaof", "nothing") // as a provider may do
	}
	tr := producing(t, s.Addr, 0)
	err := tr.Publish(bounded(t), onDisk(0, time.Second), text2msg("a"))
	require.Equal(t, []transport.Outcome{notStored}, outcomesOf(t, err))
	require.ErrorContains(t, err, "needs Redis 7.2 or newer")
	require.Zero(t, s.Client().Exists(t.Context(), "orders.placed").Val())
}

func TestOnDisk(t *testing.T) {
	leakFree(t)
	s := flushing(t, "--appendonly", "yes", "--appendfsync", "always")
	tr := producing(t, s.Addr, 200*time.Millisecond)
	once := onDisk(0, 5*time.Second)
	once.Dedup = time.Minute
	for range 5 {
		require.NoError(t, tr.Publish(bounded(t), onDisk(0, 5*time.Second), text2msg("a", "b")))
		require.NoError(t, tr.Publish(bounded(t), once, text2msg("c")))
	}
	err := tr.Publish(bounded(t), onDisk(1, 300*time.Millisecond), text2msg("a"))
	require.Equal(t, []transport.Outcome{stored}, outcomesOf(t, err))
	require.Equal(t, &transport.DurabilityError{Want: 1, OnDisk: true, Flushed: true, Timeout: 300 * time.Millisecond}, shortageOf(t, err))
	require.ErrorContains(t, err, "0 of 1 replicas have it on disk after 300ms")
	s.Kill()
	s.Restart()
	require.EqualValues(t, 16, s.Client().XLen(t.Context(), "orders.placed").Val())
}

func TestOnDiskOfAReplica(t *testing.T) {
	master := flushing(t, "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(master.Addr)
	replica := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always", "--replicaof", host+" "+port)
	online(t, master)
	tr := producing(t, master.Addr, 0)
	require.NoError(t, tr.Publish(bounded(t), onDisk(1, 10*time.Second), text2msg("a")))
	replica.Kill()
	replica.Restart()
	require.EqualValues(t, 1, replica.Client().XLen(t.Context(), "orders.placed").Val())
}

// A disk that is late is told apart from replicas that are.
func TestOnDiskTooLate(t *testing.T) {
	s := flushing(t, "--appendonly", "yes", "--appendfsync", "no")
	tr := producing(t, s.Addr, 0)
	err := tr.Publish(bounded(t), onDisk(0, 50*time.Millisecond), text2msg("a"))
	require.Equal(t, []transport.Outcome{stored}, outcomesOf(t, err))
	require.Equal(t, &transport.DurabilityError{OnDisk: true, Timeout: 50 * time.Millisecond}, shortageOf(t, err))
	require.ErrorContains(t, err, "it is not on the disk of the server that stored it")
}

func TestOnDiskWithoutAppendOnly(t *testing.T) {
	s := flushing(t)
	tr, c := producing(t, s.Addr, 0), s.Client()
	err := tr.Publish(bounded(t), onDisk(0, time.Second), text2msg("a"))
	require.Equal(t, []transport.Outcome{notStored}, outcomesOf(t, err))
	require.ErrorContains(t, err, "set appendonly yes")
	require.NoError(t, c.ConfigSet(t.Context(), "appendonly", "yes").Err())
	require.NoError(t, tr.Publish(bounded(t), onDisk(0, 10*time.Second), text2msg("a")))
	require.NoError(t, c.ConfigSet(t.Context(), "appendonly", "no").Err())
	err = tr.Publish(bounded(t), onDisk(0, time.Second), text2msg("a"))
	require.Equal(t, []transport.Outcome{stored}, outcomesOf(t, err), "it was looked at once")
	require.ErrorContains(t, shortageOf(t, err).Err, "set appendonly yes")
}

func TestOnDiskRights(t *testing.T) {
	s := flushing(t, "--appendonly", "yes")
	setUser(t, s, "+xadd", "~orders.placed")
	err := limited(t, s).Publish(bounded(t), onDisk(0, time.Second), text2msg("a"))
	require.Equal(t, []transport.Outcome{notStored}, outcomesOf(t, err))
	require.ErrorContains(t, err, "+waitaof")
	setUser(t, s, "+waitaof", "~orders.placed")
	err = limited(t, s).Publish(bounded(t), onDisk(0, time.Second), text2msg("a"))
	require.ErrorContains(t, err, "+xadd")
	setUser(t, s, "+xadd", "+waitaof", "~orders.placed")
	require.NoError(t, limited(t, s).Publish(bounded(t), onDisk(0, 10*time.Second), text2msg("a")))
}
