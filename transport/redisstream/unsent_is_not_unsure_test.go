package redisstream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// a settlement that was never sent is not taken for one that happened.
func TestUnsentSettlementIsNotDone(t *testing.T) {
	b := newBench(t)
	w := &watcher{}
	s := b.subscribe(b.tr, w.group("g", time.Minute))
	b.publish(1)
	d := receive(t, s, 1)[0]
	b.server.Kill()
	st := []transport.Settlement{{Delivery: d, Verdict: transport.Done, Stage: []transport.Staged{{Topic: transport.Topic{Name: "out"}, Message: text2msg("1")[0]}}}}
	err := s.Settle(t.Context(), st)
	t.Log(err)
	require.Error(t, err)
	b.server.Restart() // without its data
	ctx := within(t, 3*time.Second)
	for ctx.Err() == nil {
		_, _ = s.Receive(ctx, 1) // makes the group again, and renews
	}
	err = s.Settle(t.Context(), st)
	t.Log(err, w.warns, w.lost)
	assert.True(t, err != nil || b.client.XLen(t.Context(), "out").Val() == 1, "Settle says that the output is stored, and it is not")
}
