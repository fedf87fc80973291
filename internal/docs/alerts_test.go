package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEachAlertIsExplained: docs/operations.md has a row for each rule of the example and for no other, and its own rules are valid.
func TestEachAlertIsExplained(t *testing.T) {
	text := read(t, "docs/operations.md")
	rules := read(t, "examples/observability/alerts.yml")
	names := func(expression, text string) (found []string) {
		for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(text, -1) {
			found = append(found, m[1])
		}
		slices.Sort(found)
		return slices.Compact(found)
	}
	there := names(`- alert: (Typedbus\w+)`, rules)
	require.NotEmpty(t, there)
	assert.Equal(t, there, names("`(Typedbus\\w+)`", text))

	blocks := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllStringSubmatch(text, -1)
	require.Len(t, blocks, 1)
	file := filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(file, []byte(blocks[0][1]), 0o600))
	_, err := exec.LookPath("promtool")
	require.NoError(t, err, "promtool is part of Prometheus: sudo apt-get install prometheus, or make setup")
	out, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestMetricsOfOperationsExist: docs/observability.md, which is held against what services export, knows each metric.
func TestMetricsOfOperationsExist(t *testing.T) {
	known := read(t, "docs/observability.md")
	for _, name := range regexp.MustCompile(`\b(?:messaging|typedbus)_[a-z_]+[a-z]`).FindAllString(read(t, "docs/operations.md"), -1) {
		assert.Contains(t, known, "`"+name+"`", "nobody exports it")
	}
}

// TestEachKeyIsDocumented: what keys.go appends to a topic's or a group's key is in docs/wire-format.md.
func TestEachKeyIsDocumented(t *testing.T) {
	document := read(t, "docs/wire-format.md")
	ends := regexp.MustCompile(`(?:tag|g|outbox|kind|"\)) ?(?:\+|:=|, key =|=) ?"(:?[a-z0-9:]+)"`).FindAllStringSubmatch(read(t, "transport/redisstream/keys.go"), -1)
	ends = append(ends, regexp.MustCompile(`outbox \+ "(:once:)"`).FindStringSubmatch(read(t, "transport/redisstream/outbox.go")))
	seen := 0
	for _, m := range ends {
		if m[1] == ":" {
			continue
		}
		seen++
		assert.Regexp(t, regexp.MustCompile("`\\{orders\\.placed\\}:[a-z:]*"+regexp.QuoteMeta(m[1])), document, "no row for %q", m[1])
	}
	assert.Greater(t, seen, 13)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	require.NoError(t, err)
	return string(text)
}
