package redisstream

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// A link is a subscription's own connection, opened when needed and dropped when it breaks.
type link struct {
	mu   sync.Mutex
	conn *readConn
	down bool // for good
}

// connectTimeout bounds how long a Receive whose context ended may still be busy connecting.
const connectTimeout = 3 * time.Second

func (s *subscription) connect(ctx context.Context) (*readConn, error) {
	l := &s.link
	l.mu.Lock()
	c, down := l.conn, l.down
	l.mu.Unlock()
	if c != nil || down {
		return c, errIf(down, transport.ErrClosed)
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c, err := s.t.reads.conn(ctx, s.keys.stream)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	if down = l.down; !down {
		l.conn = c
	}
	l.mu.Unlock()
	if down {
		c.close()
		return nil, transport.ErrClosed
	}
	s.reconnected()
	return c, nil
}

func errIf(cond bool, err error) error {
	if cond {
		return err
	}
	return nil
}

// drop closes a connection; the next call opens another.
func (l *link) drop(c *readConn) {
	l.mu.Lock()
	if l.conn == c {
		l.conn = nil
	}
	l.mu.Unlock()
	c.close()
}

// shut closes the connection for good, and with it a read that waits.
func (l *link) shut() {
	l.mu.Lock()
	c := l.conn
	l.conn, l.down = nil, true
	l.mu.Unlock()
	if c != nil {
		c.close()
	}
}

// errNoLink marks that no connection could be had: nothing was sent.
var errNoLink = errors.New("cannot connect")

// answerWithin is how long what does not block waits for an answer.
const answerWithin = blockFor + readMargin

// do runs f on the connection, for the given time at most. When ctx or the subscription ends, a blocked read of f is ended too:
// go-redis does not do that by itself (redis/go-redis#2556).
func (s *subscription) do(ctx context.Context, within time.Duration, f func(ctx context.Context, c *readConn) error) error {
	c, err := s.connect(ctx)
	if err != nil {
		s.reader.troubled(time.Now())
		return errors.Join(errNoLink, err)
	}
	began := time.Now()
	stop := s.interruptible(ctx, c)
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	err = f(limited, c)
	cancel()
	stop()
	if err == nil || isAnswer(err) {
		s.answered(began)
	} else {
		s.unanswered(began, err)
	}
	if breaksLink(err) {
		s.link.drop(c)
	}
	return err
}

// unblockGrace is how long CLIENT UNBLOCK is tried before the connection is closed under the read. It ends a read that the
// user may not unblock, or whose server does not answer; what such a read may have brought is adopted later.
const unblockGrace = time.Second

// interruptible ends what waits on c once ctx or the subscription ends. The function it returns ends the watch.
func (s *subscription) interruptible(ctx context.Context, c *readConn) (stop func()) {
	over := make(chan struct{})
	either, cancel := context.WithCancel(ctx)
	unlink := context.AfterFunc(s.ctx, cancel)
	s.wg.Add(1)
	unwatch := context.AfterFunc(either, func() {
		defer s.wg.Done()
		s.unblock(c, over)
	})
	return func() {
		close(over)
		unlink()
		if unwatch() {
			s.wg.Done()
		}
		cancel()
	}
}

// unblock repeats CLIENT UNBLOCK until the read is over: the first may come before the server blocks. One that comes too late
// makes the next read return empty, which does no harm.
func (s *subscription) unblock(c *readConn, over <-chan struct{}) {
	force := time.AfterFunc(unblockGrace, c.close)
	defer force.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		select {
		case <-over:
			return
		case <-pause.C:
			_ = c.unblock(s.lived)
			pause.Reset(wait)
		}
	}
}
