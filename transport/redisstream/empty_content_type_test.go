package redisstream

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// a content type that is there and empty is none.
func TestEmptyContentType(t *testing.T) {
	mp := Mapping{Data: "d", ContentType: "ct", DefaultContentType: "application/json"}
	m, err := parsed(&mp, "s", "1-0", map[string]any{"d": "x", "ct": ""})
	require.NoError(t, err)
	assert.Equal(t, "application/json", m.ContentType)
}
