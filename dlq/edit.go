package dlq

import (
	"context"
	"errors"
	"fmt"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// Edit changes the message of a letter: f may change Body, Headers, Key and ContentType. The letter is replaced in one step by
// one with the message so changed and all else as it was, and the id of that is returned; it is the newest of the queue. The
// message keeps its ID, which tells handlers that it is the same event, and its Time.
//
// Nothing is changed if f returns an error, which is returned. If somebody else removed the letter meanwhile the error wraps
// [ErrNoLetter].
func (q *Queue) Edit(ctx context.Context, id string, f func(*bus.Message) error) (newID string, err error) {
	l, err := q.get(ctx, id)
	if err != nil {
		return "", q.failed("edit", err)
	}
	if err := edit(l, f); err != nil {
		return "", q.failed("edit", err)
	}
	detail := "letter " + id
	err = q.act(ctx, "edit", &detail, func() (int, error) {
		ctx, cancel := finishing(ctx)
		defer cancel()
		newID, err = q.archive.PutLetter(ctx, q.topic, q.group, l, id)
		if err != nil {
			return 0, err
		}
		detail += ", which is now " + newID
		return 1, nil
	})
	return newID, q.failed("edit", err)
}

// edit changes l, which is a copy of our own.
func edit(l *Letter, f func(*bus.Message) error) error {
	id, stored, had := l.ID, l.Time, l.Body != nil
	if err := f(l.Message); err != nil {
		return err
	}
	if l.ID != id {
		return errors.New("the ID of the message was changed: an edited event is the same event")
	}
	l.Time = stored
	if l.Body == nil && had {
		l.Body = []byte{} // empty, and not malformed
	}
	return storable(l.Message)
}

// storable refuses what no transport can store.
func storable(m *bus.Message) error {
	if m.ID == "" {
		return errors.New("a message without an id")
	}
	seen := make(map[string]bool, len(m.Headers))
	for _, h := range m.Headers {
		if !transport.ValidHeaderName(h.Name) {
			return errors.New("bad header name: use 1 to 128 printable ASCII characters without spaces")
		}
		if seen[h.Name] {
			return fmt.Errorf("the header %s is there twice", h.Name)
		}
		seen[h.Name] = true
	}
	return nil
}

// EditAs is [Queue.Edit] for a decoded payload: it decodes the body of a letter as the topic does, has f change it, and encodes
// it again. The key follows where it was what the topic's KeyedBy says. A body that cannot be decoded, because it is
// malformed, compressed or encrypted, needs Edit. Errors do not show the payload, unless that of f does.
func EditAs[T any](ctx context.Context, q *Queue, topic *bus.Topic[T], id string, f func(*T) error) (newID string, err error) {
	if topic.Name() != q.topic.Name {
		return "", q.failed("edit", fmt.Errorf("the topic %s has other letters", topic.Name()))
	}
	return q.Edit(ctx, id, func(m *bus.Message) error {
		v, err := topic.Decode(m)
		if err != nil {
			return err
		}
		before := encoded(ctx, topic, v)
		if err := f(&v); err != nil {
			return err
		}
		var after capture
		if err := topic.Publish(ctx, &after, v); err != nil {
			return err
		}
		m.Body, m.ContentType = append([]byte{}, after.Body...), after.ContentType
		if m.Key == before.Key {
			m.Key = after.Key
		}
		return nil
	})
}

// encoded is v as the topic publishes it; nothing if it cannot be.
func encoded[T any](ctx context.Context, topic *bus.Topic[T], v T) bus.Message {
	var c capture
	_ = topic.Publish(ctx, &c, v)
	return c.Message
}

// capture is a publisher that keeps the message.
type capture struct{ bus.Message }

func (c *capture) Send(_ context.Context, _ transport.Topic, ms ...*bus.Message) error {
	c.Message = *ms[0]
	return nil
}
