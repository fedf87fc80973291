package redisstream

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// a settlement is whole or not at all.
func TestStagingOnAnExhaustedStream(t *testing.T) {
	b := newBench(t)
	s := b.subscribe(b.tr, transport.Group{Name: "g"})
	b.publish(1)
	d := receive(t, s, 1)[0]
	require.NoError(t, b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: "full", ID: "18446744073709551615-18446744073709551615", Values: []string{"data", "x"}}).Err())
	st := transport.Settlement{Delivery: d, Verdict: transport.Done, Stage: []transport.Staged{
		{Topic: transport.Topic{Name: "first"}, Message: text2msg("1")[0]},
		{Topic: transport.Topic{Name: "full"}, Message: text2msg("2")[0]}}}
	err := s.Settle(t.Context(), []transport.Settlement{st})
	t.Log(err)
	require.Error(t, err)
	_ = s.Settle(t.Context(), []transport.Settlement{st})
	assert.Zero(t, b.client.XLen(t.Context(), "first").Val(), "nothing of a refused settlement is stored")
}
