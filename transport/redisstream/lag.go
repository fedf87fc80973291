package redisstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// Lag implements [transport.Lagger], in one round trip (XINFO GROUPS, XPENDING).
//
// Undelivered counts retries that are due; it is -1 where Redis has lost count, as after XDEL, and more than 100 are left. Of
// the pending retries Oldest looks at the one that waits longest as a retry.
func (t *Transport) Lag(ctx context.Context, topic transport.Topic, group string) (transport.Lag, error) {
	k, err := t.groupKeys(topic.Name, group)
	if err != nil {
		return transport.Lag{}, err
	}
	reply, err := scriptLag.run(ctx, t.cmd, []string{k.stream, k.retry, k.groupDue, k.dead, k.due, k.deadDropped}, group)
	if errors.Is(err, redis.Nil) {
		return transport.Lag{}, fmt.Errorf("redisstream: lag of %s for %s: %w", topic.Name, group, transport.ErrNoGroup)
	}
	if err != nil {
		return transport.Lag{}, t.clarify("lag of "+topic.Name+" for "+group, k.stream, err)
	}
	r := list(reply)
	return transport.Lag{
		Undelivered: number(at(r, 0)),
		Pending:     number(at(r, 1)),
		Oldest:      max(time.Duration(number(at(r, 2)))*time.Millisecond, 0),
		Waiting:     number(at(r, 3)),
		Dead:        number(at(r, 4)),
		Delayed:     number(at(r, 5)),

		LettersDropped: number(at(r, 6)),
	}, nil
}

// groupKeys checks that the transport and the names can be used.
func (t *Transport) groupKeys(topic, group string) (groupKeys, error) {
	if err := t.usable(); err != nil {
		return groupKeys{}, err
	}
	if err := errors.Join(transport.CheckName("topic", topic), transport.CheckName("group", group)); err != nil {
		return groupKeys{}, fmt.Errorf("redisstream: %w", err)
	}
	return t.keys(topic).group(group), nil
}
