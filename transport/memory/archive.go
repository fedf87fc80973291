package memory

import (
	"context"
	"errors"
	"fmt"

	"github.com/typedbus/typedbus/transport"
)

// Letter returns a copy of one dead letter.
func (t *Transport) Letter(ctx context.Context, topic transport.Topic, name, id string) (l *transport.Letter, err error) {
	err = t.withArchive(ctx, topic, name, func(g *group) {
		if i, ok := g.letters.find(id); ok {
			l = g.letters.all[i].clone()
		}
	})
	if l == nil && (err == nil || errors.Is(err, transport.ErrNoGroup)) {
		err = noLetter(id)
	}
	return l, describe("letter", topic, name, err)
}

func noLetter(id string) error { return fmt.Errorf("%.40q: %w", id, transport.ErrNoLetter) }

// PutLetter stores a copy of a letter, in place of another one or beside the others. A message without an ID gets one, and an
// error text is cut to [transport.MaxErrorText].
func (t *Transport) PutLetter(ctx context.Context, topic transport.Topic, name string, l *transport.Letter, replaces string) (id string, err error) {
	c, err := copyLetter(l)
	if err == nil {
		err = t.withNewArchive(ctx, topic, name, func(g *group) error {
			if _, ok := g.letters.remove(replaces); !ok && replaces != "" {
				return noLetter(replaces)
			}
			id = g.letters.add(c)
			g.watchLetters()
			return nil
		})
	}
	return id, describe("put letter", topic, name, err)
}

// RecordAct notes what was done with the letters of a group. Of the oldest acts some are forgotten when there are more than
// 20,000.
func (t *Transport) RecordAct(ctx context.Context, topic transport.Topic, name string, a transport.Act) error {
	err := t.withNewArchive(ctx, topic, name, func(g *group) error {
		g.acts.add(a)
		return nil
	})
	return describe("record act", topic, name, err)
}

// Acts returns what was recorded about the letters of a group.
func (t *Transport) Acts(ctx context.Context, topic transport.Topic, name, after string, limit int) (page []transport.Act, err error) {
	number, err := position(after)
	if err != nil {
		return nil, fmt.Errorf("memory: acts: bad act id %.40q: use the ActID of an act", after)
	}
	err = t.withArchive(ctx, topic, name, func(g *group) { page = g.acts.page(number, limit) })
	return page, describe("acts", topic, name, err)
}

// withNewArchive calls f with a group under its lock. One that nobody has subscribed to is made early.
func (t *Transport) withNewArchive(ctx context.Context, topic transport.Topic, name string, f func(*group) error) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	if err := transport.CheckName("group", name); err != nil {
		return err
	}
	tp, err := t.broker.topic(topic.Name)
	if err != nil {
		return err
	}
	g := tp.archive(name, true)
	g.mu.Lock()
	defer g.mu.Unlock()
	return f(g)
}
