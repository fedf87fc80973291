package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// A Publisher takes messages. A [*Bus] stores them now; a [*Delivery], and so an [*Event], stores them together with the
// acknowledgement of the event being handled; a bustest.Recorder keeps them for a test to look at.
type Publisher interface {
	// Send stores ms in order, or says why not. The error wraps a *transport.PublishError where some may be stored.
	Send(ctx context.Context, t transport.Topic, ms ...*Message) error
}

// Message is an event at rest: id, key, content type, headers and body.
type Message = transport.Message

// A Sender is the untyped act of publishing: ms are encoded, their order is kept.
type Sender func(ctx context.Context, t transport.Topic, ms []*Message) error

// SendMiddleware wraps everything that is published, also through events; see [UseSend]. It may add headers and replace
// bodies, in place or in copies of the messages.
type SendMiddleware func(next Sender) Sender

// Publish stores v and returns when the broker has it. In a handler pass the event as the publisher: then v is stored in the
// same atomic step as the event's acknowledgement, and not at all when the handler fails. With the bus it is stored at once, and
// again when the handler is called again.
//
// The event gets an id before the first try (see [ID]). Publish does not try twice, unless the topic has [Dedup]: after an error
// that wraps [ErrPublishUnknown] the event may or may not be stored. Other errors mean that it is not: [ErrTooLarge], a value the
// codec cannot encode, a misdeclared topic, [ErrClosed], a broker that refuses or is away. One that wraps a
// *transport.DurabilityError means that it is stored, see [Durable].
func (t *Topic[T]) Publish(ctx context.Context, p Publisher, v T, opts ...PublishOption) error {
	out := takeOutgoing()
	if err := t.message(&out.Message, out.body, p, v, opts); err != nil {
		return fmt.Errorf("bus: publish %s: %w", t.Name(), err)
	}
	err := p.Send(ctx, t.name, out.all[:]...)
	if b, ok := p.(*Bus); ok && err == nil && b.forgets() {
		out.giveBack()
	}
	return err
}

// PublishAll stores vs in order in one round trip. The options hold for all of them. All are encoded before anything is
// sent, so an error without a *transport.PublishError in it means that none is stored; a *transport.PublishError tells, by
// index, which are. No values is no error.
func (t *Topic[T]) PublishAll(ctx context.Context, p Publisher, vs []T, opts ...PublishOption) error {
	ms := make([]*Message, len(vs))
	var chunk []Message
	for i, v := range vs {
		if len(chunk) == 0 {
			chunk = make([]Message, min(messageChunk, len(vs)-i))
		}
		m := &chunk[0]
		chunk = chunk[1:]
		err := t.message(m, nil, p, v, opts)
		if err == nil && i == 1 && m.ID == ms[0].ID {
			err = errors.New("the ID option gives every event the same id: publish them one by one")
		}
		if err != nil {
			return fmt.Errorf("bus: publish %s: value %d of %d: %w", t.Name(), i+1, len(vs), err)
		}
		ms[i] = m
	}
	if len(ms) == 0 {
		return nil
	}
	return p.Send(ctx, t.name, ms...)
}

// messageChunk is how many messages share an allocation, and so stay in memory together.
const messageChunk = 16

// message makes m of v. It encodes into buf if that is large enough.
func (t *Topic[T]) message(m *Message, buf []byte, p Publisher, v T, opts []PublishOption) error {
	if err := t.declared(); err != nil {
		return err
	}
	if p == nil {
		return errors.New("nil publisher: pass the bus, or the event being handled")
	}
	if err := t.encode(m, buf, v); err != nil {
		return err
	}
	for _, opt := range opts {
		if opt == nil {
			continue
		}
		if err := opt.applyPublish(m); err != nil {
			return err
		}
	}
	return nil
}

// A PublishOption says more about what is published.
type PublishOption interface{ applyPublish(*Message) error }

type publishOption func(*Message) error

func (f publishOption) applyPublish(m *Message) error { return f(m) }

// Key sets what the event is about, instead of what [Topic.KeyedBy] says.
func Key(key string) PublishOption {
	return publishOption(func(m *Message) error { m.Key = key; return nil })
}

// ID sets the event's id instead of a new UUIDv7: 1 to 256 bytes without control characters. Where a thing may be published
// twice, after an unknown outcome, give both the same id: handlers can recognize the second by it. Without [Dedup] the bus
// itself does not: both are stored and delivered.
func ID(id string) PublishOption {
	return publishOption(func(m *Message) error {
		if !validID(id) {
			return fmt.Errorf("bad id %.300q: use 1 to 256 bytes without control characters", id)
		}
		m.ID = id
		return nil
	})
}

func validID(id string) bool {
	for i := range len(id) {
		if id[i] < ' ' || id[i] == 0x7f {
			return false
		}
	}
	return len(id) >= 1 && len(id) <= 256
}

// Header adds a header. A name is 1 to 128 printable ASCII characters without spaces.
func Header(name, value string) PublishOption {
	return publishOption(func(m *Message) error {
		if !transport.ValidHeaderName(name) {
			return fmt.Errorf("bad header name %.140q: use 1 to 128 printable ASCII characters without spaces", name)
		}
		m.Headers.Set(name, value)
		return nil
	})
}

// Delay holds the event back: it is stored at once and delivered d later, by the broker's clock, never earlier. Zero or less is no
// delay.
func Delay(d time.Duration) PublishOption {
	return publishOption(func(m *Message) error { m.NotBefore = time.Now().Add(d); return nil })
}

// A Moment is a point in time, see [At].
type Moment struct{ t time.Time }

// At is a moment: as an option of Publish the event is delivered then, not earlier, and at once if that
// time has come already; in [Start] the group begins with what was
// stored then.
func At(t time.Time) Moment { return Moment{t} }

func (a Moment) applyPublish(m *Message) error { m.NotBefore = a.t; return nil }
