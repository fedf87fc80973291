package memory

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// Letters returns copies of the dead letters of a group. A group that does not exist has none.
func (t *Transport) Letters(ctx context.Context, topic transport.Topic, name, after string, limit int) (page []*transport.Letter, err error) {
	number, err := position(after)
	if err != nil {
		return nil, fmt.Errorf("memory: letters: bad letter id %.40q: use the LetterID of a letter", after)
	}
	err = t.withArchive(ctx, topic, name, func(g *group) { page = g.letters.page(number, limit) })
	return page, describe("letters", topic, name, err)
}

// position reads what a page comes after.
func position(after string) (uint64, error) {
	if after == "" {
		return 0, nil
	}
	return strconv.ParseUint(after, 10, 64)
}

// CountLetters returns how many dead letters a group has. A group that does not exist has none.
func (t *Transport) CountLetters(ctx context.Context, topic transport.Topic, name string) (n int64, err error) {
	err = t.withArchive(ctx, topic, name, func(g *group) { n = int64(g.letters.live) })
	return n, describe("count letters", topic, name, err)
}

// Replay hands letters to their group again, all of them in one step.
func (t *Transport) Replay(ctx context.Context, topic transport.Topic, name string, ids ...string) (n int, err error) {
	err = t.withArchive(ctx, topic, name, func(g *group) {
		for _, id := range ids {
			if l, ok := g.letters.remove(id); ok {
				g.retries.push(&item{msg: l.Message, attempt: 1, replays: l.Replays + 1})
				n++
			}
		}
		g.wakeOne()
	})
	return n, describe("replay", topic, name, err)
}

// Discard removes letters for good, all of them in one step.
func (t *Transport) Discard(ctx context.Context, topic transport.Topic, name string, ids ...string) (n int, err error) {
	err = t.withArchive(ctx, topic, name, func(g *group) {
		for _, id := range ids {
			if _, ok := g.letters.remove(id); ok {
				n++
			}
		}
	})
	return n, describe("discard", topic, name, err)
}

// Lag looks at a group. It takes time in proportion to what is pending.
func (t *Transport) Lag(ctx context.Context, topic transport.Topic, name string) (lag transport.Lag, err error) {
	if err := t.usable(ctx); err != nil {
		return lag, describe("lag", topic, name, err)
	}
	if tp := t.broker.existing(topic.Name); tp != nil {
		if g := tp.group(name); g != nil {
			lag = g.lag()
			lag.Delayed = tp.waiting()
			return lag, nil
		}
	}
	return lag, fmt.Errorf("memory: lag of %s on %s: %w", name, topic.Name, transport.ErrNoGroup)
}

func (g *group) lag() transport.Lag {
	g.mu.Lock()
	defer g.mu.Unlock()
	lag := transport.Lag{
		Undelivered:    int64(g.fresh() + g.retries.live),
		Pending:        int64(g.pending),
		Waiting:        int64(g.later.len()),
		Dead:           int64(g.letters.live),
		LettersDropped: g.letters.dropped,
	}
	var oldest time.Time
	for _, it := range []*item{g.unacked.head, g.aside.head} {
		for ; it != nil; it = it.next {
			if oldest.IsZero() || it.msg.Time.Before(oldest) {
				oldest = it.msg.Time
			}
		}
	}
	if !oldest.IsZero() {
		lag.Oldest = time.Since(oldest)
	}
	return lag
}

// withArchive calls f with a group that exists, or is early, under its lock.
func (t *Transport) withArchive(ctx context.Context, topic transport.Topic, name string, f func(*group)) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	tp := t.broker.existing(topic.Name)
	if tp == nil {
		return transport.ErrNoGroup
	}
	g := tp.archive(name, false)
	if g == nil {
		return transport.ErrNoGroup
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g)
	return nil
}

// describe says what failed. That there is no such group is no failure: it has no letters.
func describe(what string, topic transport.Topic, name string, err error) error {
	if err == nil || errors.Is(err, transport.ErrNoGroup) {
		return nil
	}
	return fmt.Errorf("memory: %s of %s on %s: %w", what, name, topic.Name, err)
}
