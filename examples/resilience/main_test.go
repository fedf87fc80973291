package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/typedbus/typedbus/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runOnce runs the program and checks the object of its last line.
func runOnce(t *testing.T, url string, seed uint64) {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, url, seed))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var r result
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &r), lines[len(lines)-1])
	assert.Equal(t, 1707, r.Published)
	assert.Equal(t, 12, r.Poison)
	assert.Equal(t, r.Published+r.Poison, r.Handled, "everything is handled in the end")
	assert.Equal(t, r.Handled, r.Paged, "and somebody was paged for each")
	assert.Zero(t, r.Twice)
	assert.Equal(t, r.Repeated, r.Duplicates, "each duplicate was recognized")
	assert.Equal(t, map[string]int{"decode_error": 3, "exhausted": 3, "invalid": 3, "permanent": 3}, r.Reasons)
	assert.Equal(t, r.Poison, r.Replayed)
	assert.Zero(t, r.Left)
	assert.Positive(t, r.Retries)
	assert.Positive(t, r.Opened, "the breaker has seen that the pager is down")
	assert.Less(t, r.Pager.WhileDown, r.Published/2, "and the pager was left alone")
	assert.Contains(t, out.String(), "dlq.Route: at most 4 attempts")
}

func TestInMemory(t *testing.T) { runOnce(t, "", 1) }

func TestTwiceOnTheSameRedis(t *testing.T) {
	s := redistest.Start(t)
	runOnce(t, s.URL, 2)
	runOnce(t, s.URL, 3)
}

func TestNoRedisThere(t *testing.T) {
	assert.ErrorContains(t, run(t.Context(), io.Discard, "redis://127.0.0.1:1", 1), "cannot reach Redis at 127.0.0.1:1")
}
