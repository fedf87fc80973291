package memory_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// A publisher and a consumer take turns, in real time and as fast as they can: each message comes while the consumer is
// about to wait, which is when a wake-up could be lost.
func TestNoWakeUpIsLost(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	topic := transport.Topic{Name: "t"}
	sub, err := tr.Subscribe(ctx, topic, transport.Group{Name: "g"})
	require.NoError(t, err)
	turn := make(chan struct{}, 1)
	go func() {
		for range 50_000 {
			if tr.Publish(ctx, topic, fresh(1)) != nil {
				return
			}
			<-turn
		}
	}()
	for i := range 50_000 {
		ds, err := sub.Receive(ctx, 1)
		require.NoError(t, err, "message %d", i)
		turn <- struct{}{}
		require.NoError(t, sub.Settle(ctx, []transport.Settlement{{Delivery: ds[0], Verdict: transport.Done}}))
	}
}
