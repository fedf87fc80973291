package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport"
)

// DefaultMaxBytes is the largest body of a topic that does not set [MaxBytes]: 1 MiB.
const DefaultMaxBytes = 1 << 20

// A Topic is a name and a codec for one Go type, declared once as a package variable and shared by all who publish or
// subscribe. It holds no connection and may be used concurrently.
type Topic[T any] struct {
	name     transport.Topic
	codec    codec.Codec[T]
	into     decodesInto[T] // the codec; nil if it cannot
	key      func(T) string
	maxBytes int
	err      error // what is wrong with the declaration, reported by first use
}

// NewTopic declares a topic. A declaration returns no error: a bad name or a nil codec is reported by Publish and by Run.
//
// A name is a letter or digit, then up to 127 letters, digits, dots, underscores and hyphens.
func NewTopic[T any](name string, c codec.Codec[T], opts ...TopicOption) *Topic[T] {
	o := topicOptions{maxBytes: DefaultMaxBytes}
	for _, opt := range opts {
		if opt != nil {
			opt.applyTopic(&o)
		}
	}
	err := transport.CheckName("topic", name)
	if c == nil {
		err = errors.Join(err, fmt.Errorf("topic %s has no codec: give NewTopic one, as codec.JSON[T]()", name))
	}
	into, _ := c.(decodesInto[T])
	return &Topic[T]{
		name:     transport.Topic{Name: name, Retention: o.retention, Dedup: o.dedup, Durable: o.durable},
		codec:    c,
		into:     into,
		maxBytes: o.maxBytes,
		err:      errors.Join(err, o.err),
	}
}

// KeyedBy sets the function that tells what an event is about, a customer or a device: the key of each event that is published
// without a [Key] option. It returns the topic, and belongs to its declaration. A key is information for handlers and other
// readers of the topic: it promises nothing about order.
func (t *Topic[T]) KeyedBy(key func(T) string) *Topic[T] {
	t.key = key
	return t
}

// Name returns the topic's name.
func (t *Topic[T]) Name() string { return t.name.Name }

// Decode turns the body of a message into a value, for tools and dead letters; handlers get it decoded. A body over the
// topic's MaxBytes is refused before it is looked at. Errors wrap [ErrUndecodable] and never show the payload.
func (t *Topic[T]) Decode(m *Message) (T, error) {
	var v, zero T
	if err := t.decode(m, &v); err != nil {
		return zero, err
	}
	return v, nil
}

// decode needs a zero value. After an error it may have something in it.
func (t *Topic[T]) decode(m *Message, v *T) (err error) {
	if err := t.declared(); err != nil {
		return fmt.Errorf("bus: decode: %w", err)
	}
	if len(m.Body) > t.maxBytes {
		return fmt.Errorf("bus: decode %s: %w: %w", t.Name(), ErrUndecodable, tooLarge(len(m.Body), t.maxBytes))
	}
	if t.into != nil {
		err = t.into.DecodeInto(m.ContentType, m.Body, v)
	} else {
		*v, err = t.codec.Decode(m.ContentType, m.Body)
	}
	if err != nil {
		return fmt.Errorf("bus: decode %s: %w: %w", t.Name(), ErrUndecodable, err)
	}
	return nil
}

// decodesInto is a codec that decodes where the value shall be, a zero one: an event is then one allocation with its payload.
type decodesInto[T any] interface {
	DecodeInto(contentType string, body []byte, v *T) error
}

// declared says what is wrong with the declaration.
func (t *Topic[T]) declared() error {
	if t.err == nil && t.codec == nil {
		return errors.New("a topic that NewTopic did not make")
	}
	return t.err
}

// encode makes the message of one value, before any option.
func (t *Topic[T]) encode(m *Message, buf []byte, v T) error {
	body, err := t.codec.Append(buf, v)
	if err != nil {
		return err
	}
	if len(body) > t.maxBytes {
		return tooLarge(len(body), t.maxBytes)
	}
	m.ID, m.ContentType, m.Body = transport.NewID(), t.codec.ContentType(), body
	if t.key != nil {
		m.Key = t.key(v)
	}
	return nil
}

func tooLarge(size, limit int) error {
	return fmt.Errorf("%w: %d bytes, the topic allows %d: store large things elsewhere and publish where they are, or raise bus.MaxBytes",
		ErrTooLarge, size, limit)
}

// erase joins a topic and a typed handler into an untyped one. Nothing below it has a type parameter.
func erase[T any](t *Topic[T], h HandlerOf[T]) Handler {
	return func(ctx context.Context, d *Delivery) (err error) {
		if d.Malformed != nil {
			return Permanent(fmt.Errorf("bus: decode %s: %w: %w", t.Name(), ErrUndecodable, d.Malformed))
		}
		e := &Event[T]{Delivery: d}
		if err := t.decode(d.Message, &e.Payload); err != nil {
			return Permanent(err)
		}
		// What a failed try has staged must not go out with a later try that ends well.
		staged := d.Staged()
		ok := false
		defer func() {
			if !ok || err != nil {
				d.unstage(staged)
			}
		}()
		err = h(ctx, e)
		ok = true
		return err
	}
}

// Wrap applies typed middleware to a handler; the first is the outermost.
func Wrap[T any](h HandlerOf[T], mws ...MiddlewareOf[T]) HandlerOf[T] {
	if h == nil {
		return nil // reported by Run
	}
	for _, mw := range slices.Backward(mws) {
		h = mw(h)
	}
	return h
}
