package redisstream

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

func TestWaitingForATurn(t *testing.T) {
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer c.Close()
	tr := New(c, Options{})
	var leave []func()
	for range joinAtOnce {
		done, err := tr.takeTurn(t.Context())
		require.NoError(t, err)
		leave = append(leave, done)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the caller's own reason"))
	_, err := tr.Subscribe(ctx, transport.Topic{Name: "orders"}, transport.Group{Name: "g"})
	require.ErrorIs(t, err, context.Canceled)

	require.NoError(t, tr.Close())
	_, err = tr.takeTurn(t.Context())
	require.ErrorIs(t, err, transport.ErrClosed, "Close ends the wait, though nobody leaves")
	for _, done := range leave {
		done()
	}
	for range 100 { // whichever case select takes
		_, err = tr.takeTurn(t.Context())
		require.ErrorIs(t, err, transport.ErrClosed, "nothing is made on the server after Close")
	}
}
