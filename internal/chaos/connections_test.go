package chaos

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// watchConnections looks from time to time how many connections the server has.
func watchConnections(r *run) {
	for r.during(200 * time.Millisecond) {
		info, err := r.redis.Info(r.Context(), "clients").Result()
		require.NoError(r, err)
		_, rest, _ := strings.Cut(info, "connected_clients:")
		n, err := strconv.Atoi(strings.Fields(rest)[0])
		require.NoError(r, err)
		r.connections = max(r.connections, n)
	}
}

// fewConnections: all processes together never have more than limit.
func fewConnections(limit int) func(*run) {
	return func(r *run) {
		assert.Positive(r, r.connections, "connections were counted")
		assert.LessOrEqual(r, r.connections, limit, "connections")
		r.note("%d connections at most, of the publisher and the harness too", r.connections)
	}
}

// noPoolTimeout: nothing ever waited in vain for a connection.
func noPoolTimeout(r *run) {
	logs, err := filepath.Glob(filepath.Join(r.dir, "*.txt"))
	require.NoError(r, err)
	assert.NotEmpty(r, logs)
	for _, path := range logs {
		text, err := os.ReadFile(path)
		require.NoError(r, err)
		assert.False(r, bytes.Contains(text, []byte("pool timeout")), "%s: %.500s", path, text)
	}
}
