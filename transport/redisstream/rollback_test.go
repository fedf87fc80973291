package redisstream

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// A pair is a master and a replica whose link can be cut. Clients follow the one that is in charge.
type pair struct {
	*bench
	replica *redistest.Server
	link    *redistest.Proxy
	addr    atomic.Value // of the one in charge
	other   *Transport   // of another process
}

func newPair(t *testing.T) *pair {
	leakFree(t)
	p := &pair{bench: &bench{TB: t, server: redistest.Start(t, "--repl-diskless-sync-delay", "0")}}
	p.link = redistest.NewProxy(t, p.server.Addr)
	host, port, _ := net.SplitHostPort(p.link.Addr)
	p.replica = redistest.Start(t, "--replicaof", host+" "+port)
	p.addr.Store(p.server.Addr)
	p.client = p.follow()
	p.tr, p.other = New(p.client, Options{}), New(p.follow(), Options{})
	t.Cleanup(func() {
		p.tr.Close()
		p.other.Close()
	})
	p.replicated()
	return p
}

func (p *pair) follow() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: "either:0", DialerRetries: 1, Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, p.addr.Load().(string))
	}})
	p.Cleanup(func() { c.Close() })
	return c
}

// replicated waits until the replica has everything.
func (p *pair) replicated() {
	p.Helper()
	require.NoError(p, redistest.Eventually(20*time.Second, func(ctx context.Context) error {
		if n := p.client.Do(ctx, "wait", 1, 100).Val(); n != int64(1) {
			return errors.New("no replica")
		}
		return nil
	}))
}

func (p *pair) cut() {
	p.link.Refuse(true)
	p.link.Cut()
}

// failover kills the master and puts the replica in charge, without what it has not got.
func (p *pair) failover() {
	p.Helper()
	p.server.Kill()
	p.server = p.replica
	require.NoError(p, p.server.Client().Do(p.Context(), "replicaof", "no", "one").Err())
	p.addr.Store(p.server.Addr)
}

// ids are those of the entries there are.
func (p *pair) ids() (ids []string) {
	for _, e := range p.client.XRange(p.Context(), "orders", "-", "+").Val() {
		ids = append(ids, e.ID)
	}
	return ids
}

func (p *pair) tend() {
	for _, tr := range []*Transport{p.tr, p.other} {
		tr.tend(p.Context(), []string{"orders"})
		tr.tend(p.Context(), []string{"orders"})
	}
}

func (p *pair) join(w *watcher) (a, b *subscription) {
	g := w.group("g", time.Minute)
	return p.subscribe(p.tr, g), p.subscribe(p.other, g)
}

// reconnected does what reads do: the first command on a connection that broke fails.
func (p *pair) reconnected() {
	p.Helper()
	for _, tr := range []*Transport{p.tr, p.other} {
		require.NoError(p, redistest.Eventually(5*time.Second, func(ctx context.Context) error { return tr.cmd.Ping(ctx).Err() }))
	}
}

// what was read is the witness of what a failover has lost.
func TestRollbackIsSeen(t *testing.T) {
	for name, c := range map[string]struct {
		tended  bool // while all was well
		read    bool // what is to be lost
		after   int  // published by others before anybody looks
		unknown bool // nobody can know
	}{
		"read, nothing new":   {read: true},
		"read, overtaken":     {read: true, after: 20},
		"tended, nothing new": {tended: true},
		"tended, overtaken":   {tended: true, after: 20},
		"tended, fewer since": {tended: true, after: 2},
		"nobody has seen it":  {after: 1, unknown: true},
	} {
		t.Run(name, func(t *testing.T) {
			p, w := newPair(t), &watcher{}
			s, other := p.join(w)
			p.publish(10)
			settle(t, s, transport.Done, 0, receive(t, s, 6)...)
			settle(t, other, transport.Done, 0, receive(t, other, 4)...)
			p.tend()
			p.replicated()
			p.cut()
			p.publish(5)
			before := p.ids()
			if c.read {
				settle(t, s, transport.Done, 0, receive(t, s, 2)...)
				settle(t, other, transport.Done, 0, receive(t, other, 3)...)
			}
			if c.tended {
				p.tend()
			}
			p.failover()
			p.reconnected()
			p.publish(c.after)
			p.tend()
			w.mu.Lock()
			warns := slices.Clone(w.warns)
			w.mu.Unlock()
			if c.unknown {
				require.Empty(t, warns)
				return
			}
			require.Equal(t, before[9], w.whole(t)[0])
			require.Contains(t, before[11:], w.whole(t)[1])
			if c.read {
				require.Equal(t, before[14], w.whole(t)[1])
			}
			crowd := newCrowd(t, done, s, other)
			crowd.awaitAll(10*time.Second, p.publish(10))
			crowd.end()
			p.tend()
			require.Len(t, w.warns, len(warns), "and not again: %v", w.warns)
		})
	}
}

// acknowledgements that did not reach the replica are forgotten: that is no loss, but it is said.
func TestRollbackOfAGroupIsSeen(t *testing.T) {
	p, w := newPair(t), &watcher{}
	s, other := p.join(w)
	ids := p.publish(10)
	settle(t, s, transport.Done, 0, receive(t, s, 1)...)
	p.tend()
	p.replicated()
	p.cut()
	settle(t, s, transport.Done, 0, receive(t, s, 5)...)
	settle(t, other, transport.Done, 0, receive(t, other, 3)...)
	p.failover()
	p.reconnected()
	p.tend()
	var loss *transport.LossError
	require.ErrorAs(t, w.warns[0], &loss)
	require.Len(t, w.warns, 2, "each says what it knows: %v", w.warns)
	require.Equal(t, p.ids()[0], loss.From)
	require.Equal(t, "the group stands before where it stood, as after a failover to a replica that was behind: messages may come again", loss.What)
	crowd := newCrowd(t, done, s, other)
	crowd.awaitAll(10*time.Second, ids[1:])
	crowd.end()
	p.tend()
	require.Len(t, w.warns, 2, "and not again: %v", w.warns)
}

// what is removed on purpose is no rollback.
func TestRemovalIsNoRollback(t *testing.T) {
	for name, remove := range map[string]func(ctx context.Context, c *redis.Client, last string) error{
		"xdel": func(ctx context.Context, c *redis.Client, last string) error {
			return c.XDel(ctx, "orders", last).Err()
		},
		"trim": func(ctx context.Context, c *redis.Client, _ string) error {
			return c.XTrimMaxLen(ctx, "orders", 0).Err()
		},
		"save, reload": func(ctx context.Context, c *redis.Client, _ string) error { return c.Do(ctx, "debug", "reload").Err() },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "--enable-debug-command", "yes")
			w := &watcher{}
			s := b.subscribe(b.tr, w.group("g", time.Minute))
			for range 3 {
				b.publish(10)
				settle(t, s, transport.Done, 0, receive(t, s, 10)...)
				b.tr.tend(t.Context(), []string{"orders"})
				last := b.client.XRevRangeN(t.Context(), "orders", "+", "-", 1).Val()[0].ID
				require.NoError(t, remove(t.Context(), b.client, last))
				b.tr.tend(t.Context(), []string{"orders"})
			}
			require.Empty(t, w.warns)
		})
	}
}

// after an outage nobody waits for the next look.
func TestFailoverIsLookedAtAtOnce(t *testing.T) {
	p, w := newPair(t), &watcher{}
	s, other := p.join(w)
	c := newCrowd(t, done, s, other)
	c.awaitAll(10*time.Second, p.publish(10))
	p.replicated()
	p.cut()
	c.awaitAll(10*time.Second, p.publish(5))
	p.failover()
	p.reconnected()
	c.awaitAll(10*time.Second, p.publish(5))
	began := time.Now()
	w.await(t, within(t, 10*time.Second), "loss reported", func() bool { return losses(w.warns) > 0 })
	t.Logf("after %v", time.Since(began))
	require.Less(t, time.Since(began), tendTick/2)
	c.end()
	p.tend()
	w.whole(t)
}
