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
	for len(ms) > 0 {
		for _, m := range ms {
			p.write(history.Publishing, m)
		}
		ms = p.sent(ms, p.bus.Send(context.Background(), transport.Topic{Name: orders.Name()}, ms...))
		if p.d.one(3) {
			return // given up
		}
	}
}

func (p *process) write(what history.What, m *bus.Message) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.happened(p, what, &transport.Delivery{Message: m}, "")
}

// sent notes what became of a try, and returns what it did not store for sure.
func (p *process) sent(ms []*bus.Message, err error) (again []*bus.Message) {
	for i, m := range ms {
		o := outcomeAt(err, i)
		p.write([...]history.What{history.NotPublished, history.Published, history.Unknown}[o], m)
		p.w.tried(m.ID, o)
		if o != transport.Stored {
			again = append(again, m)
		}
	}
	return again
}

func (w *world) tried(id string, o transport.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	is := w.published[id]
	switch o {
	case transport.Stored:
		is.sure++
	case transport.Unknown:
		is.unknown++
	}
	w.published[id] = is
}

func outcomeAt(err error, i int) transport.Outcome {
	var each *transport.PublishError
	if errors.As(err, &each) {
		return each.Outcomes[i]
	}
	return transport.Stored
}
