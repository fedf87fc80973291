package redisstream

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// what was deleted while held is settled once, also when answers are lost.
func TestGoneIsSettledOnce(t *testing.T) {
	b := newBench(t)
	tr, proxy := b.lossy()
	w := &watcher{}
	s := b.subscribe(tr, w.group("g", time.Minute))
	b.publish(1)
	settle(t, s, transport.Dead, 0, receive(t, s, 1)...) // the server knows the script
	require.NoError(t, b.client.Del(t.Context(), "{orders}:g:dead").Err())
	b.publish(1)
	d := receive(t, s, 1)[0]
	require.NoError(t, b.client.XTrimMaxLen(t.Context(), "orders", 0).Err())
	require.NoError(t, s.renew(t.Context(), leaseTimeout))
	n := 1
	proxy.Lose(func(request []byte) bool {
		if !bytes.Contains(request, []byte("evalsha")) {
			return false
		}
		n--
		return n >= 0
	})
	settle(t, s, transport.Dead, 0, d)
	require.Equal(t, 1, proxy.Lost())
	assert.EqualValues(t, 1, b.client.XLen(t.Context(), "{orders}:g:dead").Val())
}
