package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/typedbus/typedbus/transport"
)

// Settle ends deliveries, each whole or not at all. It never waits.
func (s *subscription) Settle(_ context.Context, ss []transport.Settlement) error {
	var errs []error
	stages := make([]stage, 0, 4)
	g := s.group
	g.mu.Lock()
	for i := range ss {
		st, err := s.settle(&ss[i])
		if err != nil {
			if errs == nil {
				errs = make([]error, len(ss))
			}
			errs[i] = fmt.Errorf("memory: %w", err)
		}
		stages = append(stages, st...)
	}
	g.wakeOne()
	g.mu.Unlock()
	for i := range stages {
		stages[i].topic.wake()
	}
	if errs != nil {
		return &transport.SettleError{Errs: errs}
	}
	return nil
}

// settle ends one delivery. The stages it returns are stored; their topics are to be woken.
func (s *subscription) settle(st *transport.Settlement) ([]stage, error) {
	if s.closed || s.crashed {
		return nil, transport.ErrClosed
	}
	if s.transport.broker.away.Load() {
		return nil, errAway
	}
	if st.Delivery == nil {
		return nil, errors.New("settlement without a delivery")
	}
	l, ok := s.leases.find(st.Receipt)
	switch {
	case !ok:
		return nil, fmt.Errorf("no delivery of this subscription has the receipt %.40q", st.Receipt)
	case l == nil: // settled before
		return nil, nil
	}
	stages, err := s.transport.broker.stages(st)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", transport.ErrRefused, err)
	}
	it := l.item.latest()
	if l.lost {
		return nil, s.settleLost(it, st)
	}
	s.leases.remove(l)
	if it.state == ended { // by a consumer that had lost the lease and was done all the same
		return nil, nil
	}
	s.group.apply(it, st, s.name)
	for i := range stages {
		stages[i].topic.store(stages[i].messages, stages[i].keep)
	}
	return stages, nil
}

func (s *subscription) settleLost(it *item, st *transport.Settlement) error {
	if st.Verdict != transport.Done || len(st.Stage) > 0 {
		return transport.ErrLeaseLost
	}
	s.group.end(it)
	return nil
}

// apply does what a verdict says.
func (g *group) apply(it *item, st *transport.Settlement, consumer string) {
	switch st.Verdict {
	case transport.Done:
		g.end(it)
	case transport.Failed:
		it.attempt++
		g.postpone(it, st.After)
	case transport.Deferred:
		g.postpone(it, st.After)
	case transport.Dead:
		g.letters.add(newLetter(it, st, consumer))
		g.watchLetters()
		g.end(it)
	}
}

// A stage is what one settlement stores in one topic.
type stage struct {
	topic    *topic
	keep     transport.Retention
	messages []transport.Message
}

// stages makes all that a settlement stores ready, so that storing it cannot fail any more.
func (b *broker) stages(st *transport.Settlement) ([]stage, error) {
	if st.Verdict < transport.Done || st.Verdict > transport.Dead {
		return nil, fmt.Errorf("invalid verdict %d: use Done, Failed, Deferred or Dead", st.Verdict)
	}
	if len(st.Stage) == 0 {
		return nil, nil
	}
	if st.Verdict != transport.Done {
		return nil, fmt.Errorf("%s with staged messages: only Done can stage", st.Verdict)
	}
	var stages []stage
	for i := range st.Stage {
		t, err := b.topic(st.Stage[i].Topic.Name)
		if err != nil {
			return nil, err
		}
		m, err := copyAll(nil, []*transport.Message{st.Stage[i].Message})
		if err != nil {
			return nil, err
		}
		if at := slices.IndexFunc(stages, func(s stage) bool { return s.topic == t }); at >= 0 {
			stages[at].messages = append(stages[at].messages, m...)
			continue
		}
		stages = append(stages, stage{t, st.Stage[i].Topic.Retention, m})
	}
	return stages, nil
}
