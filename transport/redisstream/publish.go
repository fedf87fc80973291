package redisstream

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

type committer struct{ t *Transport }

func newCommitter(t *Transport) *committer { return &committer{t} }

func (c *committer) close() {}

// Publish implements [transport.Transport].
func (t *Transport) Publish(ctx context.Context, topic transport.Topic, ms []*transport.Message) error {
	if err := t.usable(); err != nil {
		return err
	}
	k, mp := t.keys(topic.Name), t.mapping(topic.Name)
	for _, m := range ms {
		cmd := redis.NewStringCmd(ctx, mp.appendFields([]any{"xadd", k.stream, "*"}, m)...)
		if err := t.cmd.Process(ctx, once{cmd}); err != nil {
			return t.clarify("publish "+topic.Name, k.stream, err)
		}
	}
	return nil
}
