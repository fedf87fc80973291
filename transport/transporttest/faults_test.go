package transporttest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/typedbus/typedbus/transport"
)

type (
	messagesOf   = []*transport.Message
	deliveriesOf = []*transport.Delivery
)

// republish makes a fault of Publish from a function that changes what is published.
func republish(change func(ms messagesOf) messagesOf) func(*broken, context.Context, transport.Topic, messagesOf) error {
	return func(b *broken, ctx context.Context, t transport.Topic, ms messagesOf) error {
		copies := make(messagesOf, len(ms))
		for i, m := range ms {
			copies[i] = m.Clone()
		}
		return b.Transport.Publish(ctx, t, change(copies))
	}
}

// rereceive makes a fault of Receive from a function that changes what is delivered.
func rereceive(change func(d *transport.Delivery)) func(*brokenSub, context.Context, int) (deliveriesOf, error) {
	return func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
		ds, err := s.Subscription.Receive(ctx, limit)
		for _, d := range ds {
			change(d)
		}
		return ds, err
	}
}

// resettle makes a fault of Settle from a function that changes a settlement.
func resettle(change func(st *transport.Settlement)) func(*brokenSub, context.Context, []transport.Settlement) error {
	return func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
		ss = slices.Clone(ss)
		for i := range ss {
			change(&ss[i])
		}
		return s.Subscription.Settle(ctx, ss)
	}
}

// faults are all the ways to break the contract that the suite must notice.
var faults = slices.Concat(publishFaults, dedupFaults, messageFaults, groupFaults, receiveFaults, settleFaults, leaseFaults, letterFaults, replayFaults,
	boundFaults, archiveFaults, actFaults, otherFaults)

// every returns a function that is true at each nth call.
func every(n int64) func() bool {
	var calls atomic.Int64
	return func() bool { return calls.Add(1)%n == 0 }
}

// kept holds messages by their ids, as a transport would that does not copy.
var kept pointers

type pointers struct{ byID sync.Map }

func (p *pointers) keep(m *transport.Message) { p.byID.Store(m.ID, m) }

func (p *pointers) find(id string) *transport.Message {
	if m, ok := p.byID.Load(id); ok {
		return m.(*transport.Message)
	}
	return nil
}
