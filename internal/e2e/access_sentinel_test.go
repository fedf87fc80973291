package e2e

import (
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// TestTheDocumentedRulesOfSentinels connects as a user of the Sentinel with the rules of docs/operations.md, then without each
// of those that finding the master needs.
func TestTheDocumentedRulesOfSentinels(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	rules := sentinelRules(t)
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	u.User = url.UserPassword("client", password)
	try := func(rules []string) error {
		args := []any{"acl", "setuser", "client", "reset", "on", ">" + password}
		for _, r := range rules {
			args = append(args, r)
		}
		require.NoError(t, s.Watcher.Client().Do(t.Context(), args...).Err())
		tr, err := redisstream.Open(t.Context(), u.String(), redisstream.Options{})
		if err != nil {
			return err
		}
		defer tr.Close()
		return orders.Publish(t.Context(), bus.New(tr, quiet), Order{1})
	}
	require.NoError(t, try(rules))
	require.Error(t, try(without(rules, "+sentinel|get-master-addr-by-name")))
}

func sentinelRules(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(operations)
	require.NoError(t, err)
	_, script, ok := strings.Cut(string(text), "\nredis-cli -p 26379 ACL SETUSER client ")
	require.True(t, ok)
	script, _, _ = strings.Cut(script, "```")
	words, err := exec.CommandContext(t.Context(), "sh", "-c", "printf '%s\\n' "+script).Output()
	require.NoError(t, err)
	var rules []string
	for _, word := range strings.Fields(string(words)) {
		if strings.ContainsAny(word[:1], "+&~") {
			rules = append(rules, word)
		}
	}
	return rules
}
