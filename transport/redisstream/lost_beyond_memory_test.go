package redisstream

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// A settlement that stages is refused if its lease was lost, however many others were lost too.
func TestManyLostLeasesAreRefused(t *testing.T) {
	b := newBench(t)
	w := &watcher{}
	s := b.subscribe(b.tr, transport.Group{Name: "g", Lease: time.Second})
	const n = 5000
	b.publish(n)
	ds := receive(t, s, n)
	resume := s.stall() // as a process that is frozen
	other := b.subscribe(b.transport(), w.group("g", time.Second))
	theirs := receive(t, other, n)
	resume()
	require.Eventually(t, func() bool { return s.held.size() == 0 }, 20*time.Second, 10*time.Millisecond)
	var ss []transport.Settlement
	for _, d := range ds {
		out := transport.Staged{Topic: transport.Topic{Name: "out"}, Message: &transport.Message{ID: d.ID, Body: []byte("x")}}
		ss = append(ss, transport.Settlement{Delivery: d, Verdict: transport.Done, Stage: []transport.Staged{out}})
	}
	err := s.Settle(t.Context(), ss)
	refused := 0
	var se *transport.SettleError
	require.ErrorAs(t, err, &se)
	for _, e := range se.Errs {
		if errors.Is(e, transport.ErrLeaseLost) {
			refused++
		}
	}
	assert.Equal(t, n, refused, "refused; stored outputs: %d", b.client.XLen(t.Context(), "out").Val())
	settle(t, other, transport.Done, 0, theirs...)
}
