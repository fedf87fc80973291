package record_test

import (
	"context"
	"errors"
	"slices"

	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// liar is a transport that breaks one promise, to the message with that id.
type liar struct {
	*memory.Transport

	loses   string // says that it is stored
	doubles string // stores it twice
	delays  string // stores it when the tenth message after it is stored
	denies  string // stores it, and says that it has not
	drops   string // receives it, and acknowledges it by itself
	keeps   string // receives it, and hands it to nobody
	invents string // stores one that nobody has published

	late  []*transport.Message
	since int
}

func (l *liar) Publish(ctx context.Context, t transport.Topic, ms []*transport.Message) error {
	var stored []*transport.Message
	denied := false
	for _, m := range ms {
		switch m.ID {
		case l.loses:
		case l.delays:
			l.late = append(l.late, m.Clone())
		case l.doubles:
			stored = append(stored, m, m)
		default:
			stored = append(stored, m)
		}
		denied = denied || m.ID == l.denies
	}
	if len(l.late) > 0 {
		if l.since++; l.since == 10 {
			stored, l.late = append(stored, l.late...), nil
		}
	}
	if l.invents != "" {
		m := ms[0].Clone()
		m.ID, l.invents = l.invents, ""
		stored = append(stored, m)
	}
	err := l.Transport.Publish(ctx, t, stored)
	if denied {
		return &transport.PublishError{Topic: t.Name, Outcomes: make([]transport.Outcome, len(ms)), Err: errors.New("refused")}
	}
	return err
}

func (l *liar) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	s, err := l.Transport.Subscribe(ctx, t, g)
	return &lyingSubscription{s, l}, err
}

type lyingSubscription struct {
	transport.Subscription
	l *liar
}

func (s *lyingSubscription) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	ds, err := s.Subscription.Receive(ctx, limit)
	ds = slices.DeleteFunc(ds, func(d *transport.Delivery) bool {
		if d.ID == s.l.drops {
			err = s.Subscription.Settle(ctx, []transport.Settlement{{Delivery: d, Verdict: transport.Done}})
			return true
		}
		return d.ID == s.l.keeps
	})
	return ds, err
}
