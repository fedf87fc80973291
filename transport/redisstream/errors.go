package redisstream

import (
	"errors"
	"fmt"
	"net"

	"github.com/redis/go-redis/v9"
)

// clarify says in plain words what an error of Redis means and what to do about it. op is what was tried ("publish
// orders.placed"), key the stream it was about.
func (t *Transport) clarify(op, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redisstream: %s: %w", op, err)
}

// answered says whether err is an answer of the server: it refused, and did nothing.
func answered(err error) bool {
	var e redis.Error
	return errors.As(err, &e)
}

// neverSent says whether err shows that there was no connection to send anything on.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" ||
		errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed)
}
