package simulate_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/transport"
)

// publish stores some events, one by one or many at once, and tries some of them again.
func (w *world) publish() {
	p := newProcess(w, "publisher")
	defer p.tr.Close()
	for n, all := 0, 1+p.d.below(60); n < all; {
		var ms []*bus.Message
		for range 1 + p.d.below(10)*p.d.below(2) {
			n++
			ms = append(ms, message(fmt.Sprint("e", n)))
		}
		if p.d.one(5) {
			ms[0].NotBefore = time.Now().Add(p.d.upTo(20 * time.Second))
		}
		p.publish(ms)
		wait(context.Background(), p.d.upTo(3*time.Second))
	}
}

func message(id string) *bus.Message {
	return &bus.Message{ID: id, ContentType: "application/json", Body: fmt.Appendf(nil, `{"ID":%q}`, id)}
}

func (p *process) publish(ms []*bus.Message) {
	p.write(history.Publishing, ms)
	for again := ms; len(again) > 0; {
		again = p.w.sent(again, p.bus.Send(context.Background(), transport.Topic{Name: orders.Name()}, again...))
		if p.d.one(3) {
			break // given up
		}
	}
	for _, m := range ms {
		p.write(p.w.outcome(m.ID), []*bus.Message{m})
	}
}

func (p *process) write(what history.What, ms []*bus.Message) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	for _, m := range ms {
		p.w.happened(p, what, &transport.Delivery{Message: m}, "")
	}
}

// sent notes what became of a try, and returns what it did not store for sure.
func (w *world) sent(ms []*bus.Message, err error) (again []*bus.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, m := range ms {
		is := w.published[m.ID]
		switch outcomeAt(err, i) {
		case transport.Stored:
			is.sure++
		case transport.Unknown:
			is.unknown++
			fallthrough
		default:
			again = append(again, m)
		}
		w.published[m.ID] = is
	}
	return again
}

func outcomeAt(err error, i int) transport.Outcome {
	var each *transport.PublishError
	if errors.As(err, &each) {
		return each.Outcomes[i]
	}
	return transport.Stored
}

func (w *world) outcome(id string) history.What {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch is := w.published[id]; {
	case is.sure > 0:
		return history.Published
	case is.unknown > 0:
		return history.Unknown
	}
	return history.NotPublished
}
