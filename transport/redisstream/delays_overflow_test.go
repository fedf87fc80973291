package redisstream

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// delays beyond what a Duration holds must not come at once.
func TestFarFutureIsNotNow(t *testing.T) {
	b := newBench(t)
	m := text2msg("never")
	m[0].NotBefore = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	require.NoError(t, b.tr.Publish(bounded(t), orders, m))
	assert.EqualValues(t, 1, b.client.ZCard(t.Context(), "{orders}:due").Val())
	score := b.client.ZRangeWithScores(t.Context(), "{orders}:due", 0, 0).Val()
	t.Logf("score %v", score)
	if len(score) > 0 {
		assert.Greater(t, score[0].Score, float64(time.Now().UnixMilli()))
	}
	assert.Zero(t, b.client.XLen(t.Context(), "orders").Val(), "delivered at once")
}

func TestAfterForeverIsNotNow(t *testing.T) {
	b := newBench(t)
	s := b.subscribe(b.tr, transport.Group{Name: "g"})
	b.publish(1)
	settle(t, s, transport.Deferred, math.MaxInt64, receive(t, s, 1)...)
	z := b.client.ZRangeWithScores(t.Context(), "{orders}:g:due", 0, 0).Val()
	t.Log(z)
	if assert.Len(t, z, 1) {
		assert.Greater(t, z[0].Score, float64(time.Now().UnixMilli()))
	}
	ctx := within(t, 2*time.Second)
	ds, _ := s.Receive(ctx, 1)
	assert.Empty(t, ds)
}
