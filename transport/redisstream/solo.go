package redisstream

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// solo is how a lone publisher sends: from its own goroutine, because handing over to another and back costs as much as half
// a local round trip. go-redis does not stop waiting when a context is cancelled, so the connection is one that can be
// aborted. It is used by one publisher at a time.
type solo struct {
	client *redis.Client

	mu   sync.Mutex
	turn uint64
	over bool       // the context of this turn has ended
	conn *abortable // that was written to last; nil before the first
}

// tlsIdle is how long a connection with TLS may be idle before it is replaced. go-redis cannot see that a server, or something
// on the way, has closed one, and a publish sent on it has an unknown outcome. A variable for tests.
var tlsIdle = 30 * time.Second

// laneOptions are those of a client that publishes on so many connections at a time. The pool is larger because go-redis gives up for
// a second after as many failed dials as the pool is large.
func laneOptions(o *redis.Options, conns int) *redis.Options {
	c := cloneOptions(o)
	c.ReadTimeout = again(o.ReadTimeout)
	c.PoolSize, c.MaxIdleConns = 10, conns
	if o.TLSConfig != nil && (c.ConnMaxIdleTime <= 0 || c.ConnMaxIdleTime > tlsIdle) {
		c.ConnMaxIdleTime = tlsIdle
	}
	return c
}

func newSolo(o *redis.Options) *solo {
	s := &solo{}
	c := laneOptions(o, 1)
	dial := o.Dialer
	c.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return s.adopt(conn), nil
	}
	s.client = redis.NewClient(c)
	return s
}

// send runs cmds in order. When ctx ends it gives up the connection, and the commands that were written have no answer.
func (s *solo) send(ctx context.Context, cmds []*addCmd) error {
	defer s.abortWith(ctx)()
	if len(cmds) == 1 {
		return s.client.Process(ctx, cmds[0])
	}
	p := s.client.Pipeline()
	for _, c := range cmds {
		p.Process(ctx, c)
	}
	_, err := p.Exec(ctx)
	return err
}

// abortWith ties the connection to ctx until the returned function is called.
func (s *solo) abortWith(ctx context.Context) (release func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	s.mu.Lock()
	turn := s.turn
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.turn != turn { // a late call must not hit the next publisher
			return
		}
		s.over = true
		if s.conn != nil {
			s.conn.abort()
		}
	})
	return func() {
		stop()
		s.mu.Lock()
		s.turn, s.over = s.turn+1, false
		s.mu.Unlock()
	}
}

func (s *solo) adopt(conn net.Conn) net.Conn {
	a := &abortable{Conn: conn, owner: s}
	if raw, ok := conn.(syscall.Conn); ok {
		return &abortableSocket{a, raw}
	}
	return a
}

// abortable is a connection whose reads and writes can be ended for good, from another goroutine.
type abortable struct {
	net.Conn
	owner *solo

	mu      sync.Mutex
	aborted bool
}

// Write makes it the one to abort.
func (a *abortable) Write(b []byte) (int, error) {
	a.owner.mu.Lock()
	a.owner.conn = a
	over := a.owner.over
	a.owner.mu.Unlock()
	if over {
		a.abort()
	}
	return a.Conn.Write(b)
}

var longAgo = time.Unix(1, 0)

func (a *abortable) abort() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.aborted = true
	a.Conn.SetDeadline(longAgo)
}

// SetDeadline keeps the deadline of abort, as the other two do.
func (a *abortable) SetDeadline(t time.Time) error { return a.set(a.Conn.SetDeadline, t) }

func (a *abortable) SetReadDeadline(t time.Time) error { return a.set(a.Conn.SetReadDeadline, t) }

func (a *abortable) SetWriteDeadline(t time.Time) error { return a.set(a.Conn.SetWriteDeadline, t) }

func (a *abortable) set(f func(time.Time) error, t time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.aborted {
		return nil
	}
	return f(t)
}

// abortableSocket is one whose socket go-redis can look at, to see whether an idle connection is still open.
type abortableSocket struct {
	*abortable
	syscall.Conn
}
