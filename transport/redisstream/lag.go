package redisstream

import (
	"context"
	"github.com/typedbus/typedbus/transport"
)

func (t *Transport) Lag(ctx context.Context, topic transport.Topic, group string) (l transport.Lag, err error) {
	return
}
