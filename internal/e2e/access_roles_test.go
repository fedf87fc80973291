package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const operations = "../../docs/operations.md"

// documentedRules are the rules of each user in docs/operations.md, as a shell understands them.
func documentedRules(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(operations)
	require.NoError(t, err)
	rules := map[string][]string{}
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllSubmatch(text, -1) {
		if !strings.HasPrefix(string(block[1]), "redis-cli ACL SETUSER ") {
			continue
		}
		script := strings.ReplaceAll(string(block[1]), "redis-cli ", "printf '%s\\n' ")
		words, err := exec.CommandContext(t.Context(), "sh", "-c", script).Output()
		require.NoError(t, err)
		for _, statement := range strings.Split(string(words), "ACL\nSETUSER\n")[1:] {
			user, rest, _ := strings.Cut(statement, "\n")
			for _, rule := range strings.Fields(rest) {
				if strings.ContainsAny(rule[:1], "+~") && !slices.Contains(rules[user], rule) {
					rules[user] = append(rules[user], rule)
				}
			}
		}
	}
	require.Len(t, rules, 3, "a producer, a consumer and an operator")
	return rules
}

const password = "hunter2"

func without(rules []string, rule string) []string {
	return slices.DeleteFunc(slices.Clone(rules), func(r string) bool { return r == rule })
}
