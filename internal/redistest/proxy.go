package redistest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy passes TCP connections on to a server and can break them. It is closed when the test ends.
type Proxy struct {
	Addr string // where clients connect

	t      testing.TB
	target string
	lis    net.Listener
	wg     sync.WaitGroup

	mu       sync.Mutex
	conns    map[*link]struct{}
	refuse   bool
	hole     bool
	swallow  bool
	delay    time.Duration
	lose     func(request []byte) bool
	lost     int
	requests func([]byte)
}

// link is one client's connection and the one made for it.
type link struct {
	client, server net.Conn

	mu   sync.Mutex
	lose bool
}

func (l *link) close() {
	l.client.Close()
	l.server.Close()
}

// NewProxy listens on a free port and passes connections on to target, a "host:port".
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	p := &Proxy{t: t, target: target, lis: lis, Addr: lis.Addr().String(), conns: map[*link]struct{}{}}
	p.wg.Go(p.accept)
	t.Cleanup(p.Close)
	return p
}

// Close ends all connections and stops listening.
func (p *Proxy) Close() {
	p.lis.Close()
	p.Cut()
	p.wg.Wait()
}

// Cut closes the connections that are open now; new ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.conns {
		l.close()
	}
}

// Refuse makes the proxy close new connections as soon as they come, or stop doing so.
func (p *Proxy) Refuse(on bool) { p.set(func() { p.refuse = on }) }

// BlackHole makes everything sent either way vanish while connections stay open, as when a cable is pulled, or ends that:
// what vanished is gone, so connections that were in use then are out of step and should be Cut.
func (p *Proxy) BlackHole(on bool) { p.set(func() { p.hole = on }) }

// SwallowReplies makes what the server sends vanish while requests still reach it, or ends that.
func (p *Proxy) SwallowReplies(on bool) { p.set(func() { p.swallow = on }) }

// Delay holds back everything the server sends by d.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// Lose passes requests on, but cuts the connection instead of passing on the answer to one that match says yes to: the server
// did it and the client does not know. match sees what was read in one piece, often one request, sometimes a pipeline. It is
// asked for each piece, under a lock, until Lose(nil).
func (p *Proxy) Lose(match func(request []byte) bool) { p.set(func() { p.lose = match }) }

// Lost is how many answers Lose has kept back.
func (p *Proxy) Lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// OnRequest has f called with everything that clients send, in pieces as read, under a lock.
func (p *Proxy) OnRequest(f func([]byte)) { p.set(func() { p.requests = f }) }

// Conns is how many connections are open.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

func (p *Proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *Proxy) accept() {
	for {
		c, err := p.lis.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.refuse
		p.mu.Unlock()
		if refuse {
			c.Close()
			continue
		}
		s, err := net.Dial("tcp", p.target)
		if err != nil {
			c.Close()
			continue
		}
		p.join(&link{client: c, server: s})
	}
}

func (p *Proxy) join(l *link) {
	p.set(func() { p.conns[l] = struct{}{} })
	var both sync.WaitGroup
	both.Go(func() { p.pass(l, l.client, l.server, p.onRequest) })
	both.Go(func() { p.pass(l, l.server, l.client, p.onReply) })
	p.wg.Go(func() {
		both.Wait()
		p.set(func() { delete(p.conns, l) })
	})
}

// pass copies one direction until either end closes. allow may hold a piece back.
func (p *Proxy) pass(l *link, from, to net.Conn, allow func(*link, []byte) bool) {
	defer l.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && allow(l, buf[:n]) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) onRequest(l *link, b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.requests != nil {
		p.requests(b)
	}
	if p.lose != nil && p.lose(b) {
		l.mu.Lock()
		l.lose = true
		l.mu.Unlock()
	}
	return !p.hole
}

func (p *Proxy) onReply(l *link, _ []byte) bool {
	p.mu.Lock()
	pass, delay := !p.hole && !p.swallow, p.delay
	l.mu.Lock()
	lose := l.lose
	l.mu.Unlock()
	if lose {
		p.lost++
	}
	p.mu.Unlock()
	if lose {
		l.close()
		return false
	}
	if delay > 0 {
		<-time.After(delay)
	}
	return pass
}
