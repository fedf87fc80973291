package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/examples/internal/week"
	"github.com/typedbus/typedbus/internal/redistest"
)

// runOnce runs the program and returns the object of its last line.
func runOnce(t *testing.T, url string) result {
	t.Helper()
	var out bytes.Buffer
	path := filepath.Join(t.TempDir(), "archive.jsonl")
	require.NoError(t, run(t.Context(), &out, url, path))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var r result
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &r), lines[len(lines)-1])
	assert.Equal(t, r.Archived, countQuakes(t, path), "lines in the archive")
	assert.Contains(t, out.String(), "ci          386")
	r.ElapsedMS = 0
	return r
}

func countQuakes(t *testing.T, path string) (n int) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	ids := make(map[string]bool)
	for s := bufio.NewScanner(f); s.Scan(); {
		var q week.Quake
		require.NoError(t, json.Unmarshal(s.Bytes(), &q))
		ids[q.ID] = true
	}
	return len(ids)
}

var want = result{Published: 1707, Handled: 1707, Alerts: 39, Paged: 39, Retried: 39, Archived: 1707}

func TestInMemory(t *testing.T) { assert.Equal(t, want, runOnce(t, "")) }

func TestTwiceOnTheSameRedis(t *testing.T) {
	s := redistest.Start(t)
	assert.Equal(t, want, runOnce(t, s.URL))
	assert.Equal(t, want, runOnce(t, s.URL))
}

func TestNoRedisThere(t *testing.T) {
	err := run(t.Context(), os.Stdout, "redis://127.0.0.1:1", filepath.Join(t.TempDir(), "a"))
	assert.ErrorContains(t, err, "cannot reach Redis at 127.0.0.1:1")
}
