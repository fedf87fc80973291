package redisstream

import (
	"context"
	"github.com/typedbus/typedbus/transport"
)

func (t *Transport) Letters(ctx context.Context, topic transport.Topic, group, after string, limit int) ([]*transport.Letter, error) {
	return nil, nil
}
func (t *Transport) CountLetters(ctx context.Context, topic transport.Topic, group string) (int64, error) {
	return 0, nil
}
func (t *Transport) Replay(ctx context.Context, topic transport.Topic, group string, ids ...string) (int, error) {
	return 0, nil
}
func (t *Transport) Discard(ctx context.Context, topic transport.Topic, group string, ids ...string) (int, error) {
	return 0, nil
}
