package redisstream

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
)

// one bad member stops all delayed messages of a topic, and nobody is told.
func TestMoverBadMember(t *testing.T) {
	for name, body := range map[string]string{
		"no msgpack": "garbage\xc1",
		"no array":   "\x05",
		"odd":        "\x91\xa1a",
		"empty":      "\x90",
		"nested":     "\x92\xa1a\x91\x01",
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			c := s.Client()
			var warned []error
			tr := New(s.Client(), Options{Warn: func(err error) { warned = append(warned, err) }})
			ctx := bounded(t)
			require.NoError(t, c.HSet(ctx, "{orders}:due:body", "bad", body).Err())
			require.NoError(t, c.ZAdd(ctx, "{orders}:due", redis.Z{Score: 1, Member: "bad"}).Err())
			require.NoError(t, tr.Publish(ctx, orders, delayedMsg("good", 100*time.Millisecond)))
			assert.Eventually(t, func() bool { return c.XLen(ctx, "orders").Val() == 1 }, 30*time.Second, 10*time.Millisecond, "the good message behind the bad one")
			tr.Close()
			assert.NotEmpty(t, warned, "somebody is told")
		})
	}
}

// the mover's errors are told to nobody.
func TestMoverErrorsAreTold(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	warned := make(chan error, 100)
	tr := New(s.Client(), Options{Warn: func(err error) { warned <- err }})
	defer tr.Close()
	ctx := bounded(t)
	require.NoError(t, tr.Publish(ctx, orders, delayedMsg("good", 100*time.Millisecond)))
	require.NoError(t, c.Set(ctx, "orders", "x", 0).Err())
	select {
	case err := <-warned:
		assert.ErrorContains(t, err, "not a stream")
	case <-ctx.Done():
		assert.Fail(t, "nobody was told")
	}
}

// what refuses only until the clients know where a slot went is no warning.
func TestAMovingSlotIsNoWarning(t *testing.T) {
	var warned []error
	tr := New(redis.NewClient(&redis.Options{}), Options{Warn: func(err error) { warned = append(warned, err) }})
	defer tr.Close()
	m := topicKeys("", "orders").topicMove()
	for _, answer := range []string{"MOVED 1 127.0.0.1:1", "ASK 1 127.0.0.1:1", "TRYAGAIN Multiple keys request during rehashing of slot"} {
		tr.moveFailed(m, answerError(t, answer))
	}
	require.Empty(t, warned)
	tr.moveFailed(m, answerError(t, "OOM command not allowed when used memory > 'maxmemory'."))
	require.Len(t, warned, 1)
}
