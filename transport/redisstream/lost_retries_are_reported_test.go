package redisstream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// a retry stream that is gone is a loss.
func TestLostRetriesAreReported(t *testing.T) {
	b := newBench(t)
	w := &watcher{}
	s := b.subscribe(b.tr, w.group("g", 0))
	b.publish(3)
	ds := receive(t, s, 3)
	settle(t, s, transport.Failed, 0, ds...)
	require.EqualValues(t, 3, b.client.XLen(t.Context(), "{orders}:g:retry").Val())
	require.NoError(t, b.client.Del(t.Context(), "{orders}:g:retry").Err())
	_, _ = s.Receive(within(t, 3*time.Second), 1)
	assert.NotEmpty(t, w.warns)
}
