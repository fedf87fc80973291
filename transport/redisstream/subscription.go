package redisstream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// A subscription is one consumer of a group: one Redis consumer on the topic's stream and on the group's retry stream.
type subscription struct {
	t        *Transport
	topic    transport.Topic
	group    transport.Group
	keys     groupKeys
	mapping  *Mapping
	lease    time.Duration
	consumer string

	ctx    context.Context // ends when Close begins
	stop   context.CancelFunc
	lived  context.Context // ends when Close is over, and with it the keeper of leases
	die    context.CancelFunc
	wg     sync.WaitGroup // the keeper of leases
	closed error          // what Close returned
	once   sync.Once

	receiving chan struct{} // holds a token while a Receive runs; it owns reader
	reader    reader        // receive.go
	link      link          // link.go
	lastTrip  atomic.Int64  // nanoseconds; see LastRoundTrip
	others    atomic.Bool   // other consumers hold something; see survey.go
	seen      sighting      // rollback.go

	held     heldSet // held.go
	settling gate    // calls of Settle under way
}

// Subscribe implements [transport.Transport].
//
// A group that was lost, and not removed by hand together with its cursor key, goes on where it stood, not at g.Start.
func (t *Transport) Subscribe(ctx context.Context, topic transport.Topic, g transport.Group) (transport.Subscription, error) {
	if err := errors.Join(t.usable(), transport.CheckName("topic", topic.Name), transport.CheckName("group", g.Name)); err != nil {
		return nil, err
	}
	if _, err := startPosition(g.Start); err != nil {
		return nil, err
	}
	s := t.newSubscription(topic, g)
	err := s.joinInTurn(ctx)
	if err == nil {
		_, err = s.connect(ctx) // now, so that it is no part of the first Receive and its context
	}
	if err == nil && !t.admit(s) {
		err = transport.ErrClosed
	}
	if err != nil {
		s.die()
		s.link.shut()
		return nil, t.clarify("subscribe to "+s.name(), s.keys.stream, err)
	}
	t.attend(s)
	t.sayTo(s)
	return s, nil
}

// joinAtOnce is how many subscriptions join their groups at the same time: a service that declares a thousand would fill the pool
// of its client with connections that nobody needs afterwards.
const joinAtOnce = 4

func (s *subscription) joinInTurn(ctx context.Context) error {
	done, err := s.t.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := s.t.preflightConsumer(ctx, s.topic.Name, s.group.Name); err != nil {
		return err
	}
	return s.join(ctx, true)
}

// takeTurn waits until fewer do. On a Cluster nobody waits, lest a node that hangs hold up the others.
func (t *Transport) takeTurn(ctx context.Context) (done func(), err error) {
	if t.reads.cluster != nil {
		return func() {}, nil
	}
	select {
	case t.joining <- struct{}{}:
		done = func() { <-t.joining }
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.ctx.Done():
		return nil, transport.ErrClosed
	}
	if err := t.usable(); err != nil { // closed while it waited: nothing is made on the server any more
		done()
		return nil, err
	}
	return done, nil
}

// admit has Close close s, unless it is too late for that.
func (t *Transport) admit(s *subscription) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.subs[s] = struct{}{}
	}
	return !t.closed
}

func (t *Transport) newSubscription(topic transport.Topic, g transport.Group) *subscription {
	s := &subscription{
		t: t, topic: topic, group: g,
		keys:      t.keys(topic.Name).group(g.Name),
		mapping:   t.mapping(topic.Name),
		lease:     max(g.LeaseOrDefault(), time.Millisecond),
		consumer:  consumerName(t.opts.Name),
		receiving: make(chan struct{}, 1),
	}
	s.lived, s.die = context.WithCancel(t.ctx)
	s.ctx, s.stop = context.WithCancel(s.lived)
	s.held.init()
	s.held.quarantine = &t.quarantine
	s.reader.init(s.lease)
	return s
}

// consumerName is never used twice: what is pending for a name belongs to one subscription.
func consumerName(prefix string) string {
	if prefix == "" {
		host, _ := os.Hostname()
		prefix = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%.200s-%s", prefix, hex.EncodeToString(b[:]))
}

// name says in errors whom they concern.
func (s *subscription) name() string { return s.topic.Name + " for " + s.group.Name }

// LastRoundTrip implements [transport.Pulse].
func (s *subscription) LastRoundTrip() time.Time {
	if n := s.lastTrip.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

func (s *subscription) warn(err error) {
	if err != nil && s.group.Warn != nil {
		s.group.Warn(err)
	}
}

// loss is a LossError of this group.
func (s *subscription) loss(what string, n int, from, to string) *transport.LossError {
	return &transport.LossError{Topic: s.topic.Name, Group: s.group.Name, What: what, Count: int64(n), From: from, To: to}
}

// Close implements [transport.Subscription]. The consumer leaves the group (XGROUP DELCONSUMER) only if nothing is pending for
// it; otherwise its leases run out by themselves. With Sentinels and on a Cluster it waits up to ten seconds for another master.
func (s *subscription) Close(ctx context.Context) error {
	s.once.Do(func() { s.closed = s.close(ctx) })
	return s.closed
}

// close speaks to the server through the client of the leases: unlike the caller's it is sure to respect ctx.
func (s *subscription) close(ctx context.Context) error {
	s.stop()
	defer s.forget()
	err := s.awaitReceive(ctx)
	if err == nil {
		err = s.settling.shut(ctx)
	}
	if err == nil {
		err = s.part(ctx)
	}
	return s.t.clarify("close "+s.name(), s.keys.stream, err)
}

// part gives back what is held and leaves the group, again while another master is being found: the one that is known may be dead.
func (s *subscription) part(ctx context.Context) error {
	for end, try := time.Now().Add(clusterPatience), 1; ; try++ {
		err := s.partNow(ctx)
		if err == nil || !s.t.reads.mayMove() || classify(err) != passing || !clusterPause(ctx, end, try) {
			return err
		}
	}
}

func (s *subscription) partNow(ctx context.Context) error {
	if err := errors.Join(s.adoptLast(ctx), s.release(ctx)); err != nil { // what is known is released in any case
		return err
	}
	_, err := scriptLeave.run(ctx, s.t.leases, []string{s.keys.stream, s.keys.retry}, s.group.Name, s.consumer)
	return err
}

// awaitReceive waits until no Receive is under way. None begins after it.
func (s *subscription) awaitReceive(ctx context.Context) error {
	select {
	case s.receiving <- struct{}{}:
		return nil
	case <-ctx.Done():
	}
	s.link.shut() // ends it at once, or, while it connects, within connectTimeout
	s.receiving <- struct{}{}
	return ctx.Err()
}

// forget ends what the subscription has running here.
func (s *subscription) forget() {
	s.die()
	s.link.shut()
	s.wg.Wait()
	s.held.abandon()
	s.t.mu.Lock()
	delete(s.t.subs, s)
	s.t.mu.Unlock()
	s.t.disregard(s)
}
