package redisstream

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// TestWarningsReachASubscription: where the options say nothing, what was noticed before there was a subscription is told to the
// first, once.
func TestWarningsReachASubscription(t *testing.T) {
	s := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	tr, err := Open(t.Context(), s.URL, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { tr.Close() })
	var said []error
	for _, group := range []string{"billing", "shipping"} {
		_, err := tr.Subscribe(t.Context(), transport.Topic{Name: "orders"}, transport.Group{
			Name: group, Warn: func(err error) { said = append(said, err) },
		})
		require.NoError(t, err)
	}
	require.Len(t, said, 1)
	assert.ErrorContains(t, said[0], "maxmemory-policy is allkeys-lru")
}
