package redisstream

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

func durable(name string, timeout time.Duration) transport.Topic {
	return transport.Topic{Name: name, Durable: transport.Durability{Replicas: 1, Timeout: timeout}}
}

// replicated is a master and a replica that reaches it through a proxy.
func replicated(t *testing.T) (*redistest.Server, *redistest.Server, *redistest.Proxy) {
	master := redistest.Start(t, "--repl-diskless-sync-delay", "0")
	p := redistest.NewProxy(t, master.Addr)
	host, port, _ := net.SplitHostPort(p.Addr)
	replica := redistest.Start(t, "--replicaof", host+" "+port)
	online(t, master)
	return master, replica, p
}

// online waits until a replica has caught up with master.
func online(t *testing.T, master *redistest.Server) {
	t.Helper()
	require.NoError(t, redistest.Eventually(20*time.Second, func(ctx context.Context) error {
		if !strings.Contains(master.Client().Info(ctx, "replication").Val(), "state=online") {
			return errors.New("the replica is not online")
		}
		return nil
	}))
}

func shortageOf(t *testing.T, err error) *transport.DurabilityError {
	t.Helper()
	var e *transport.DurabilityError
	require.ErrorAs(t, err, &e)
	return e
}

func TestDurable(t *testing.T) {
	leakFree(t)
	master, replica, link := replicated(t)
	tr := producing(t, master.Addr, time.Second)
	d := durable("orders.placed", 10*time.Second)
	once := d
	once.Dedup = time.Minute
	for i := range 20 {
		require.NoError(t, tr.Publish(bounded(t), d, text2msg(strconv.Itoa(i))))
		require.EqualValues(t, 3*i+1, replica.Client().XLen(t.Context(), "orders.placed").Val(), "the replica has it at once")
		require.NoError(t, tr.Publish(bounded(t), once, text2msg("a", "b")))
		require.EqualValues(t, 3*i+3, replica.Client().XLen(t.Context(), "orders.placed").Val())
	}

	link.BlackHole(true)
	short := durable("orders.placed", 300*time.Millisecond)
	for _, n := range []int{1, 3} {
		err := tr.Publish(bounded(t), short, text2msg(make([]string, n)...))
		for _, o := range outcomesOf(t, err) {
			require.Equal(t, stored, o)
		}
		require.Equal(t, &transport.DurabilityError{Want: 1, Have: 0, Timeout: 300 * time.Millisecond}, shortageOf(t, err))
		require.ErrorContains(t, err, "0 of 1 replicas have it after 300ms, so a failover now could lose it")
		require.NotErrorIs(t, err, transport.ErrPublishUnknown)
	}
	require.EqualValues(t, 64, master.Client().XLen(t.Context(), "orders.placed").Val())
	require.NoError(t, tr.Publish(bounded(t), transport.Topic{Name: "orders.placed"}, text2msg("x")))
}

// The WAIT may take longer than the client waits for other answers.
func TestDurableOutlastsTheReadTimeout(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 200*time.Millisecond)
	err := tr.Publish(bounded(t), durable("orders.placed", 600*time.Millisecond), text2msg("a"))
	require.Equal(t, []transport.Outcome{stored}, outcomesOf(t, err))
	require.NoError(t, shortageOf(t, err).Err)
}

func TestDurableHoldsUpNoOtherTopic(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 0)
	var waiting atomic.Int64
	var wg sync.WaitGroup
	for range 10 {
		waiting.Add(1)
		wg.Go(func() {
			defer waiting.Add(-1)
			assert.Error(t, tr.Publish(bounded(t), durable("orders.placed", 2*time.Second), text2msg("a")))
		})
	}
	require.NoError(t, redistest.Eventually(10*time.Second, func(ctx context.Context) error {
		if !strings.Contains(s.Client().ClientList(ctx).Val(), "cmd=wait") {
			return errors.New("nobody waits")
		}
		return nil
	}))
	for range 20 {
		require.NoError(t, tr.Publish(bounded(t), transport.Topic{Name: "other"}, text2msg("b")))
	}
	require.EqualValues(t, 10, waiting.Load(), "they still wait")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := tr.Publish(ctx, durable("orders.placed", 2*time.Second), text2msg("a"))
	require.ErrorIs(t, err, context.DeadlineExceeded, "a caller goes when its context ends")
	wg.Wait()
}

func TestDurableWithRefusedMessages(t *testing.T) {
	s := redistest.Start(t)
	tr, c := producing(t, s.Addr, 0), s.Client()
	require.NoError(t, c.Set(t.Context(), "{orders.placed}:due", "x", 0).Err())
	err := tr.Publish(bounded(t), durable("orders.placed", 50*time.Millisecond), append(text2msg("a"), delayedMsg("b", time.Hour)...))
	require.Equal(t, []transport.Outcome{stored, notStored}, outcomesOf(t, err))
	require.Zero(t, shortageOf(t, err).Have)
	s.Kill()
	err = tr.Publish(bounded(t), durable("orders.placed", 50*time.Millisecond), text2msg("a"))
	require.Equal(t, []transport.Outcome{notStored}, outcomesOf(t, err))
	require.ErrorContains(t, err, "connection refused")
	require.NotContains(t, err.Error(), "replicas")
}

func TestDurableRights(t *testing.T) {
	s := redistest.Start(t)
	setUser(t, s, "+xadd", "~orders.placed")
	err := limited(t, s).Publish(bounded(t), durable("orders.placed", 50*time.Millisecond), text2msg("a"))
	require.Equal(t, []transport.Outcome{stored}, outcomesOf(t, err))
	require.ErrorContains(t, err, "+wait")
	require.Error(t, shortageOf(t, err).Err)
	setUser(t, s, "+xadd", "+wait", "~orders.placed")
	err = limited(t, s).Publish(bounded(t), durable("orders.placed", 50*time.Millisecond), text2msg("a"))
	require.NoError(t, shortageOf(t, err).Err)
}
