package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestExpireEndsOneLease(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	var lost []*transport.Delivery
	sub, err := tr.Subscribe(t.Context(), topic, transport.Group{Name: "g", Lost: func(d *transport.Delivery) { lost = append(lost, d) }})
	require.NoError(t, err)
	publish(t, tr, "a", "b")
	ds := receive(t, sub, 2)
	tr.Expire(sub, ds[0])
	tr.Expire(sub, ds[0])
	tr.Expire(foreign{sub}, ds[1])
	require.Equal(t, ds[:1], lost, "told once, and of no other")

	again := receive(t, sub, 1)[0]
	require.Equal(t, "a", string(again.Body))
	require.Equal(t, 1, again.Redelivered)
	failed := []transport.Settlement{{Delivery: ds[0], Verdict: transport.Failed}, {Delivery: ds[1], Verdict: transport.Done}}
	var each *transport.SettleError
	require.ErrorAs(t, sub.Settle(t.Context(), failed), &each)
	require.ErrorIs(t, each.Errs[0], transport.ErrLeaseLost)
	require.NoError(t, each.Errs[1])

	require.NoError(t, sub.Settle(t.Context(), []transport.Settlement{{Delivery: ds[0], Verdict: transport.Done}}), "done is done")
	lag, err := tr.Lag(t.Context(), topic, "g")
	require.NoError(t, err)
	require.Zero(t, lag.Pending)
	tr.Expire(sub, ds[1])
	require.Len(t, lost, 1, "what is settled is left alone")
	require.NoError(t, sub.Close(t.Context()))
	tr.Expire(sub, again)
	require.Len(t, lost, 1, "what is closed is left alone")
}
