package e2e

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
)

// A site is where a role performs: one server, or a Cluster.
type site struct {
	nodes []*redistest.Server
	dial  func(user, password string) redis.UniversalClient
	admin redis.UniversalClient
}

func single(t *testing.T) site {
	s := redistest.Start(t)
	return site{[]*redistest.Server{s}, func(user, password string) redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: s.Addr, Username: user, Password: password, MaxRetries: -1})
	}, s.Client()}
}

func cluster(t *testing.T) site {
	c := redistest.StartCluster(t, 3, 0)
	var addrs []string
	for _, n := range c.Nodes {
		addrs = append(addrs, n.Addr)
	}
	return site{c.Nodes, func(user, password string) redis.UniversalClient {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Username: user, Password: password, MaxRetries: -1})
	}, c.Client()}
}

// each runs f for each server.
func (p site) each(t *testing.T, f func(ctx context.Context, c *redis.Client) error) {
	t.Helper()
	for _, n := range p.nodes {
		require.NoError(t, f(t.Context(), n.Client()))
	}
}

// empty has all servers forget everything, and their scripts.
func (p site) empty(t *testing.T) {
	t.Helper()
	p.each(t, func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() })
	p.forget(t)
}

// forget has all servers forget their scripts.
func (p site) forget(t *testing.T) {
	t.Helper()
	p.each(t, func(ctx context.Context, c *redis.Client) error { return c.ScriptFlush(ctx).Err() })
}

// userOf gives a user exactly these rules everywhere, and returns a client of it, which the test closes.
func (p site) userOf(t *testing.T, name string, rules []string) redis.UniversalClient {
	t.Helper()
	args := []any{"acl", "setuser", name, "reset", "on", ">" + password}
	for _, r := range rules {
		args = append(args, r)
	}
	p.each(t, func(ctx context.Context, c *redis.Client) error { return c.Do(ctx, args...).Err() })
	return p.dial(name, password)
}

// clusterRules are what docs/operations.md gives a user on a Cluster besides.
func clusterRules(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(operations)
	require.NoError(t, err)
	rules := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^redis-cli --cluster call \S+ ACL SETUSER (\w+) (.*)$`).FindAllStringSubmatch(string(text), -1) {
		for _, rule := range strings.Fields(m[2]) {
			rules[m[1]] = append(rules[m[1]], strings.NewReplacer(`\`, "", "'", "").Replace(rule))
		}
	}
	require.Len(t, rules, 3, "a producer, a consumer and an operator")
	return rules
}

// noisy is the rule without which nothing fails, but the client says so in its own log.
const noisy = "+command"

// TestTheDocumentedRulesOfACluster runs each role with its rules and what a Cluster needs besides, then without each of those.
func TestTheDocumentedRulesOfACluster(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	besides := clusterRules(t)
	for name, rules := range documentedRules(t) {
		t.Run(name, func(t *testing.T) {
			all := append(slices.Clone(rules), besides[name]...)
			require.Empty(t, perform(t, s, name, all), "all is allowed")
			for _, rule := range besides[name] {
				if rule == noisy {
					require.Empty(t, perform(t, s, name, without(all, rule)))
					continue
				}
				said := perform(t, s, name, without(all, rule))
				assert.Regexp(t, `ACL SETUSER <user> [^:]*`+regexp.QuoteMeta(rule)+`(\s|$|")`, said, "without %s", rule)
				assert.NotContains(t, said, password)
			}
		})
	}
}
