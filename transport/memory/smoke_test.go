package memory_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestSmoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		defer tr.Close()
		ctx := t.Context()
		topic := transport.Topic{Name: "a"}
		s, err := tr.Subscribe(ctx, topic, transport.Group{Name: "g"})
		require.NoError(t, err)
		go func() {
			time.Sleep(time.Second)
			tr.Publish(ctx, topic, []*transport.Message{{Body: []byte("x")}, {Body: []byte("y")}, {Body: []byte("late"), NotBefore: time.Now().Add(time.Hour)}})
		}()
		ds, err := s.Receive(ctx, 10)
		require.NoError(t, err)
		require.Len(t, ds, 2)
		require.NoError(t, s.Settle(ctx, []transport.Settlement{
			{Delivery: ds[0], Verdict: transport.Failed, After: time.Minute},
			{Delivery: ds[1], Verdict: transport.Done, Stage: []transport.Staged{{Topic: topic, Message: &transport.Message{Body: []byte("z")}}}},
		}))
		for _, want := range []string{"z", "x", "late"} {
			ds, err = s.Receive(ctx, 10)
			require.NoError(t, err)
			require.Equal(t, want, string(ds[0].Body))
			require.NoError(t, s.Settle(ctx, []transport.Settlement{{Delivery: ds[0], Verdict: transport.Dead, Reason: "why"}}))
		}
		n, err := tr.CountLetters(ctx, topic, "g")
		require.NoError(t, err)
		require.EqualValues(t, 3, n)
	})
}
