package redisstream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// dead consumers are looked after although one auxiliary key has the wrong type.
func TestReclaimWithAWrongKey(t *testing.T) {
	b := newBench(t)
	tr2 := b.transport()
	a := b.subscribe(b.tr, transport.Group{Name: "g", Lease: 8 * time.Second})
	b.publish(1)
	receive(t, a, 1)
	require.NoError(t, b.client.Set(t.Context(), "{orders}:due", "x", 0).Err())
	s := b.subscribe(tr2, transport.Group{Name: "g", Lease: 8 * time.Second})
	a.crash()
	ds, err := s.Receive(within(t, 25*time.Second), 1)
	assert.NoError(t, err)
	assert.Len(t, ds, 1)
}
