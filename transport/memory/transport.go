// Package memory is the transport inside one process: nothing is written to disk, and everything is gone when the process
// ends. It is the default of embedded programs and tests, and the model the conformance suite in transporttest is proved on.
//
// It keeps every promise of package transport: groups, leases, retries, delays, dead letters, staging, retention. It uses
// only mutexes, channels and timers, and has no goroutine of its own, so it works in a [testing/synctest] bubble.
//
// A message is copied at Publish, and its body again at each delivery, so that what a handler writes into its body is seen
// by no other group, no later attempt and no dead letter. Deliveries share their headers, which are copied when they are
// set (see [transport.Headers]).
package memory

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/typedbus/typedbus/transport"
)

var (
	_ transport.Transport     = (*Transport)(nil)
	_ transport.Lagger        = (*Transport)(nil)
	_ transport.DeadLetters   = (*Transport)(nil)
	_ transport.LetterArchive = (*Transport)(nil)
)

// A Transport is the view of one process on a broker in memory. All methods may be called concurrently.
type Transport struct {
	broker *broker
	closed atomic.Bool

	mu   sync.Mutex
	subs map[*subscription]struct{}
}

// New returns a transport on a new and empty broker. Close it to stop its timers.
func New() *Transport { return newBroker().open() }

// Peer returns another transport on the same broker, as a second process would have it. The broker lasts until all its
// transports are closed. It is meant for tests; a program shares one Transport. Peer of a closed Transport is closed too.
func (t *Transport) Peer() *Transport {
	p := t.broker.open()
	p.closed.Store(p.closed.Load() || t.closed.Load())
	return p
}

// Publish stores copies of ms. It fails only if the transport is closed, ctx has ended, or a message or the topic's name
// is invalid, and then stores nothing. It never waits. A message without an ID gets one.
func (t *Transport) Publish(ctx context.Context, topic transport.Topic, ms []*transport.Message) error {
	if err := t.publish(ctx, topic, ms); err != nil {
		return &transport.PublishError{
			Topic:    topic.Name,
			Outcomes: make([]transport.Outcome, len(ms)), // all NotStored
			Err:      fmt.Errorf("memory: %w", err),
		}
	}
	return nil
}

func (t *Transport) publish(ctx context.Context, topic transport.Topic, ms []*transport.Message) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	tp, err := t.broker.topic(topic.Name)
	if err != nil {
		return err
	}
	var few [4]transport.Message // spares the small publish an allocation
	copies, err := copyAll(few[:0], ms)
	if err != nil || len(copies) == 0 {
		return err
	}
	tp.storeNew(copies, topic.Retention, topic.Dedup)
	tp.wake()
	return nil
}

// usable is why a call fails whatever it asks for, or nil.
func (t *Transport) usable(ctx context.Context) error {
	switch {
	case t.closed.Load():
		return transport.ErrClosed
	case t.broker.away.Load():
		return errAway
	}
	return ctx.Err()
}

// Subscribe joins a group. It never waits.
func (t *Transport) Subscribe(ctx context.Context, topic transport.Topic, g transport.Group) (transport.Subscription, error) {
	s, err := t.subscribe(ctx, topic, g)
	if err != nil {
		return nil, fmt.Errorf("memory: subscribe %s to %s: %w", g.Name, topic.Name, err)
	}
	return s, nil
}

func (t *Transport) subscribe(ctx context.Context, topic transport.Topic, conf transport.Group) (*subscription, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	if err := transport.CheckName("group", conf.Name); err != nil {
		return nil, err
	}
	tp, err := t.broker.topic(topic.Name)
	if err != nil {
		return nil, err
	}
	g, err := tp.join(conf)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed.Load() {
		return nil, transport.ErrClosed
	}
	s := g.subscribe(t, conf)
	t.subs[s] = struct{}{}
	return s, nil
}

func (t *Transport) forget(s *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.subs, s)
}

// Close closes the subscriptions that are open and stops the timers. What the broker held is gone when its last
// transport is closed.
func (t *Transport) Close() error {
	t.mu.Lock()
	first := !t.closed.Swap(true)
	subs := t.subs
	t.subs = nil
	t.mu.Unlock()
	for s := range subs {
		s.close()
	}
	if first {
		t.broker.leave()
	}
	return nil
}
