package redisstream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// Close after the group has gone.
func TestCloseAfterFlushAndLostAnswer(t *testing.T) {
	b := newBench(t)
	tr, proxy := b.lossy()
	s := b.subscribe(tr, transport.Group{Name: "g"})
	b.publish(1)
	receive(t, s, 1)
	time.AfterFunc(300*time.Millisecond, proxy.Cut)
	_, err := s.Receive(within(t, time.Second), 1)
	t.Log(err)
	require.NoError(t, b.client.FlushAll(t.Context()).Err())
	assert.NoError(t, s.Close(bounded(t)))
}
