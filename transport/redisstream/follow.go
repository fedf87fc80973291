package redisstream

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// A failover that leaves the old master alive, as one asked for by hand does, breaks no connection: for ten seconds, until the
// Sentinels make it a replica, it takes what it will then forget. go-redis hears of the failover and closes the connections of its
// own client, but not those that a transport makes from its options. So a follower asks from time to time where
// the master is, and closes those that lead elsewhere.
type follower struct {
	ctx  context.Context // ends with the transport
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	wg      sync.WaitGroup
	mu      sync.Mutex
	conns   map[*followed]struct{}
	running bool
}

// followTick is how often. With TLS it costs both sides more.
const (
	followTick    = time.Second
	followTickTLS = 5 * time.Second
)

// failoverAddr is what go-redis has for an address in the options of a client that asks Sentinels for it.
const failoverAddr = "FailoverClient"

// newFollower is nil for a client without Sentinels.
func newFollower(ctx context.Context, o *redis.Options) *follower {
	if o.Addr != failoverAddr {
		return nil
	}
	return &follower{ctx: ctx, dial: o.Dialer, conns: map[*followed]struct{}{}}
}

// options are o for a client whose connections follow the master.
func (f *follower) options(o *redis.Options) *redis.Options {
	if f == nil {
		return o
	}
	c := *o
	c.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := f.dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return f.adopt(conn, c.TLSConfig != nil), nil
	}
	return &c
}

func (f *follower) adopt(conn net.Conn, tls bool) net.Conn {
	a := &followed{Conn: conn, owner: f}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[a] = struct{}{}
	if !f.running && f.ctx.Err() == nil {
		f.running = true
		tick := followTick
		if tls {
			tick = followTickTLS
		}
		f.wg.Go(func() { f.run(tick) })
	}
	if raw, ok := conn.(syscall.Conn); ok {
		return &followedSocket{a, raw}
	}
	return a
}

func (f *follower) run(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-tick.C:
			f.look()
		}
	}
}

// look connects to the master, and closes what leads elsewhere.
func (f *follower) look() {
	ctx, cancel := context.WithTimeout(f.ctx, connectTimeout)
	defer cancel()
	conn, err := f.dial(ctx, "tcp", failoverAddr)
	if err != nil {
		return // there is no master, or nobody who knows it
	}
	defer conn.Close()
	for _, c := range f.elsewhere(conn.RemoteAddr()) {
		c.Close()
	}
}

func (f *follower) elsewhere(master net.Addr) (cs []*followed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		if differ(c.RemoteAddr(), master) {
			cs = append(cs, c)
		}
	}
	return cs
}

// differ says whether these are two servers. A host may have an address of each version of IP.
func differ(a, b net.Addr) bool {
	p, err := netip.ParseAddrPort(a.String())
	q, err2 := netip.ParseAddrPort(b.String())
	if err != nil || err2 != nil {
		return a.String() != b.String()
	}
	p, q = netip.AddrPortFrom(p.Addr().Unmap(), p.Port()), netip.AddrPortFrom(q.Addr().Unmap(), q.Port())
	return p.Port() != q.Port() || p.Addr().Is4() == q.Addr().Is4() && p.Addr() != q.Addr()
}

// wait is for when ctx has ended.
func (f *follower) wait() {
	if f == nil {
		return
	}
	f.mu.Lock()
	f.running = true // nothing begins any more
	f.mu.Unlock()
	f.wg.Wait()
}

// followed is a connection that its follower may close.
type followed struct {
	net.Conn
	owner *follower
}

func (c *followed) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.conns, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

// followedSocket is one whose socket go-redis can look at.
type followedSocket struct {
	*followed
	syscall.Conn
}
