package bus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// strict is a memory transport that watches whether the engine keeps its side of the contract, and takes leases away at random.
type strict struct {
	*memory.Transport
	rnd  *rand.Rand
	lose int // one delivery in so many loses its lease; 0: none

	received func(*strictSubscription, []*transport.Delivery) // called with what Receive returns, if not nil

	mu       sync.Mutex
	breaches []string
	open     int // subscriptions that were not closed
	lost     int
}

func (x *strict) breach(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.breaches = append(x.breaches, fmt.Sprintf(format, args...))
}

// draw returns a random number below n, 0 for n = 0.
func (x *strict) draw(n int) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n == 0 {
		return -1
	}
	return x.rnd.IntN(n)
}

func (x *strict) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	s, err := x.Transport.Subscribe(ctx, t, g)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.open++
	return &strictSubscription{Subscription: s, x: x, tell: g.Lost, held: map[string]bool{}}, nil
}

type strictSubscription struct {
	transport.Subscription
	x    *strict
	tell func(*transport.Delivery)

	mu        sync.Mutex
	receiving bool
	closed    bool
	held      map[string]bool // by receipt; true: the lease is lost
}

func (s *strictSubscription) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	s.mu.Lock()
	if s.receiving || s.closed || limit < 1 {
		s.x.breach("Receive(%d) while receiving %v, closed %v", limit, s.receiving, s.closed)
	}
	s.receiving = true
	s.mu.Unlock()
	ds, err := s.Subscription.Receive(ctx, limit)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receiving = false
	if s.x.received != nil && len(ds) > 0 {
		s.x.received(s, ds)
	}
	for _, d := range ds {
		s.held[d.Receipt] = false
		if s.x.draw(s.x.lose) == 0 {
			time.AfterFunc(time.Duration(s.x.draw(5e9)), func() { s.loseLease(d) })
		}
	}
	return ds, err
}

// loseLease gives a delivery back to the group and tells the engine.
func (s *strictSubscription) loseLease(d *transport.Delivery) {
	s.mu.Lock()
	lost, held := s.held[d.Receipt]
	if !held || lost || s.closed {
		s.mu.Unlock()
		return
	}
	s.held[d.Receipt] = true
	err := s.Subscription.Settle(context.Background(), []transport.Settlement{{Delivery: d, Verdict: transport.Deferred}})
	s.mu.Unlock()
	if err != nil {
		s.x.breach("%v", err)
	}
	s.x.mu.Lock()
	s.x.lost++
	s.x.mu.Unlock()
	s.tell(d)
}

func (s *strictSubscription) Settle(ctx context.Context, ss []transport.Settlement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.x.breach("Settle after Close")
	}
	each := &transport.SettleError{Errs: make([]error, len(ss))}
	refused := false
	for i := range ss {
		lost, held := s.held[ss[i].Receipt]
		switch {
		case !held:
			s.x.breach("%s was settled twice", ss[i].ID)
		case lost && (ss[i].Verdict != transport.Done || len(ss[i].Stage) > 0):
			each.Errs[i], refused = transport.ErrLeaseLost, true
		case !lost:
			if each.Errs[i] = s.Subscription.Settle(ctx, ss[i:i+1]); each.Errs[i] != nil {
				refused = true
				continue
			}
		}
		delete(s.held, ss[i].Receipt)
	}
	if refused {
		return each
	}
	return nil
}

func (s *strictSubscription) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || ctx.Err() != nil {
		s.x.breach("Close, closed already %v, context %v", s.closed, ctx.Err())
	}
	for receipt, lost := range s.held {
		if !lost {
			s.x.breach("%s was left to Close, although no handler hangs", receipt)
		}
	}
	s.closed = true
	s.x.mu.Lock()
	s.x.open--
	s.x.mu.Unlock()
	return s.Subscription.Close(ctx)
}
