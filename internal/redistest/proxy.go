package redistest

import (
	"errors"
	"math/rand/v2"
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
	jitter   time.Duration
	slice    int
	lose     func(request []byte) bool
	lost     int
	reset    func(reply []byte) bool
	resets   int
	requests func([]byte)
}

// link is one client's connection and the one made for it.
type link struct {
	client, server net.Conn
	lose, dead     bool // the next answer; for good. The proxy's lock is for them
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

// Strand makes everything vanish that is sent either way on the connections that are open now, as when a firewall has forgotten
// them. New ones work.
func (p *Proxy) Strand() {
	p.set(func() {
		for l := range p.conns {
			l.dead = true
		}
	})
}

// SwallowReplies makes what the server sends vanish while requests still reach it, or ends that.
func (p *Proxy) SwallowReplies(on bool) { p.set(func() { p.swallow = on }) }

// Delay holds back everything the server sends by d.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay, p.jitter = d, 0 }) }

// Jitter holds back everything the server sends by d, by chance up to spread more or less.
func (p *Proxy) Jitter(d, spread time.Duration) { p.set(func() { p.delay, p.jitter = d, spread }) }

// Slice passes on what the server sends in pieces of at most so many bytes, a moment apart, so that they are read one by one; 0
// ends that.
func (p *Proxy) Slice(bytes int) { p.set(func() { p.slice = bytes }) }

// Reset breaks the connection (RST, what is under way is thrown away) in the middle of a reply that match says yes to. match is
// asked for each piece that is read from the server, under a lock, until Reset(nil).
func (p *Proxy) Reset(match func(reply []byte) bool) { p.set(func() { p.reset = match }) }

// Resets is how many connections Reset has broken.
func (p *Proxy) Resets() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resets
}

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
	both.Go(func() { p.pass(l, l.client, l.request) })
	both.Go(func() { p.pass(l, l.server, l.reply) })
	p.wg.Go(func() {
		both.Wait()
		p.set(func() { delete(p.conns, l) })
	})
}

// pass copies one direction until either end closes.
func (p *Proxy) pass(l *link, from net.Conn, on func(*Proxy, []byte) error) {
	defer l.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && on(p, buf[:n]) != nil || err != nil {
			return
		}
	}
}

func (l *link) request(p *Proxy, b []byte) error {
	p.mu.Lock()
	if p.requests != nil {
		p.requests(b)
	}
	l.lose = l.lose || p.lose != nil && p.lose(b)
	hole := p.hole || l.dead
	p.mu.Unlock()
	if hole {
		return nil
	}
	_, err := l.server.Write(b)
	return err
}

var errBroken = errors.New("on purpose")

func (l *link) reply(p *Proxy, b []byte) error {
	p.mu.Lock()
	pass, delay, slice, lose, reset := !p.hole && !p.swallow && !l.dead, p.delay, p.slice, l.lose, p.reset != nil && p.reset(b)
	if p.jitter > 0 {
		delay += rand.N(2*p.jitter) - p.jitter
	}
	if lose {
		p.lost++
	}
	if reset {
		p.resets++
	}
	p.mu.Unlock()
	switch {
	case lose:
		return errBroken
	case reset:
		return l.rst(b)
	}
	if delay > 0 {
		<-time.After(delay)
	}
	if !pass {
		return nil
	}
	return l.answer(b, slice)
}

func (l *link) answer(b []byte, slice int) error {
	for slice > 0 && len(b) > slice {
		if _, err := l.client.Write(b[:slice]); err != nil {
			return err
		}
		b = b[slice:]
		<-time.After(time.Millisecond / 4)
	}
	_, err := l.client.Write(b)
	return err
}

// rst sends half of b, waits until it will have been read, and resets.
func (l *link) rst(b []byte) error {
	_, _ = l.client.Write(b[:len(b)/2])
	<-time.After(time.Millisecond)
	_ = l.client.(*net.TCPConn).SetLinger(0)
	return errBroken
}
