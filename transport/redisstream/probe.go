package redisstream

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// A probe is a harmless form of a command: it fails or does nothing, whatever is in Redis, but Redis looks at the user's
// rights first. It is how missing rights are found before they are missed: ACL DRYRUN needs a right of its own.
type probe struct {
	rule string // what allows the command
	args []any
	keys string // what allows its key: "stream", "own" or ""
}

// noGroup and noConsumer cannot exist: names have no colon.
const (
	noGroup    = "typedbus:probe"
	noConsumer = "typedbus:probe"
)

// noScript is the hash of no script.
var noScript = strings.Repeat("0", 40)

// publishProbes are what publishing to a topic needs.
func publishProbes(k keys) []probe {
	return []probe{{"+xadd", []any{"xadd", k.stream, "0-0", "f", "v"}, "stream"}} // 0-0 is always refused
}

// delayProbes are what publishing with NotBefore needs besides.
func delayProbes(k keys) []probe {
	return []probe{
		{"+eval", []any{"eval", "return 0", 2, k.due, k.dueBody}, "own"},
		{"+evalsha", []any{"evalsha", noScript, 2, k.due, k.dueBody}, "own"},
		{"+time", []any{"time"}, ""},
		{"+hset", []any{"hset", k.dueBody, "f", "v", "odd"}, "own"}, // an odd number of arguments is refused
		{"+hdel", []any{"hdel", k.dueBody, ""}, "own"},
		{"+zadd", []any{"zadd", k.due, "xx", 0, ""}, "own"}, // XX adds nothing
	}
}

// dedupProbes are what publishing to a topic with Dedup needs besides.
func dedupProbes(k keys) []probe {
	known := k.known(noGroup)
	return []probe{
		{"+eval", []any{"eval", "return 0", 2, known, k.stream}, "own"},
		{"+evalsha", []any{"evalsha", noScript, 2, known, k.stream}, "own"},
		{"+exists", []any{"exists", known}, "own"},
		{"+set", []any{"set", known, "", "xx", "nx"}, "own"}, // a contradiction is refused
	}
}

// waitProbes are what publishing to a topic with such a durability needs besides. They return at once.
func waitProbes(d transport.Durability) []probe {
	if d.OnDisk {
		return []probe{{"+waitaof", []any{"waitaof", 0, 0, 1}, ""}}
	}
	return []probe{{"+wait", []any{"wait", 0, 1}, ""}}
}

// consumeProbes are what a consumer of a group needs: it reads two streams, runs scripts over the keys of its topic and its
// group, trims, and moves what is delayed.
func consumeProbes(k groupKeys) []probe {
	ps := append(publishProbes(k.keys), delayProbes(k.keys)...)
	return append(ps,
		probe{"+xadd", []any{"xadd", k.retry, "0-0", "f", "v"}, "own"},
		probe{"+xreadgroup", []any{"xreadgroup", "group", noGroup, noConsumer, "count", 1, "streams", k.stream, k.retry, "0-0", "0-0"}, "stream"},
		probe{"+xack", []any{"xack", k.stream, noGroup, "0-0"}, "stream"},
		probe{"+xclaim", []any{"xclaim", k.stream, noGroup, noConsumer, 0, "0-0"}, "stream"},
		probe{"+xpending", []any{"xpending", k.stream, noGroup}, "stream"},
		probe{"+xrange", []any{"xrange", k.stream, "0-1", "0-1", "count", 1}, "stream"},
		probe{"+xlen", []any{"xlen", k.stream}, "stream"},
		probe{"+xdel", []any{"xdel", k.retry, "0-0"}, "own"},
		probe{"+xtrim", []any{"xtrim", k.stream, "minid", "0"}, "stream"},
		probe{"+xgroup|create", []any{"xgroup", "create", k.stream, noGroup, "no-id"}, "stream"},
		probe{"+xgroup|delconsumer", []any{"xgroup", "delconsumer", k.stream, noGroup, noConsumer}, "stream"},
		probe{"+xgroup|setid", []any{"xgroup", "setid", k.stream, noGroup, "no-id"}, "stream"},
		probe{"+xinfo|consumers", []any{"xinfo", "consumers", k.stream, noGroup}, "stream"},
		probe{"+xinfo|stream", []any{"xinfo", "stream", k.stream}, "stream"},
		probe{"+xinfo|groups", []any{"xinfo", "groups", k.stream}, "stream"},
		probe{"+zrem", []any{"zrem", k.due, ""}, "own"},
		probe{"+zrange", []any{"zrange", k.due, 0, 0}, "own"},
		probe{"+zrangebyscore", []any{"zrangebyscore", k.due, 1, 0}, "own"},
		probe{"+zcard", []any{"zcard", k.due}, "own"},
		probe{"+hget", []any{"hget", k.dueBody, ""}, "own"},
		probe{"+get", []any{"get", k.cursor}, "own"},
		probe{"+set", []any{"set", k.cursor, "", "xx", "nx"}, "own"}, // a contradiction is refused
		probe{"+exists", []any{"exists", k.stream}, "stream"},
		probe{"+type", []any{"type", k.stream}, "stream"},
		probe{"+client|id", []any{"client", "id"}, ""},
		probe{"+client|unblock", []any{"client", "unblock", 0}, ""},
	)
}

// claimProbes are what claims need.
func claimProbes(k keys) []probe {
	claim := k.tag + noGroup + ":seen:"
	return []probe{
		{"+set", []any{"set", claim, "", "xx", "nx"}, "own"}, // a contradiction is refused
		{"+get", []any{"get", claim}, "own"},
		{"+pttl", []any{"pttl", claim}, "own"},
		{"+del", []any{"del", claim}, "own"},
		{"+eval", []any{"eval", "return 0", 1, claim}, "own"},
		{"+evalsha", []any{"evalsha", noScript, 1, claim}, "own"},
	}
}

// lagProbes are what asking for the lag of a group needs.
func lagProbes(k keys) []probe {
	return []probe{
		{"+eval", []any{"eval", "return 0", 1, k.stream}, "stream"},
		{"+evalsha", []any{"evalsha", noScript, 2, k.stream, k.due}, "stream"},
		{"+time", []any{"time"}, ""},
		{"+exists", []any{"exists", k.stream}, "stream"},
		{"+type", []any{"type", k.stream}, "stream"},
		{"+xinfo|groups", []any{"xinfo", "groups", k.stream}, "stream"},
		{"+xpending", []any{"xpending", k.stream, noGroup}, "stream"},
		{"+xrange", []any{"xrange", k.stream, "0-1", "0-1", "count", 1}, "stream"},
		{"+xlen", []any{"xlen", k.stream}, "stream"},
		{"+zcard", []any{"zcard", k.due}, "own"},
		{"+get", []any{"get", k.tag + noGroup}, "own"},
	}
}

// letterProbes are what looking at dead letters, replaying, discarding and editing them needs.
func letterProbes(k keys) []probe {
	dead, put := k.tag+noGroup+":dead", k.tag+noGroup+":dead:put"
	return []probe{
		{"+eval", []any{"eval", "return 0", 1, dead}, "own"},
		{"+evalsha", []any{"evalsha", noScript, 1, dead}, "own"},
		{"+type", []any{"type", dead}, "own"},
		{"+xrange", []any{"xrange", dead, "0-1", "0-1", "count", 1}, "own"},
		{"+xlen", []any{"xlen", dead}, "own"},
		{"+xadd", []any{"xadd", dead, "0-0", "f", "v"}, "own"}, // 0-0 is always refused
		{"+xdel", []any{"xdel", dead, "0-0"}, "own"},
		{"+zadd", []any{"zadd", put, "xx", 0, ""}, "own"}, // XX adds nothing
		{"+zrem", []any{"zrem", put, ""}, "own"},
	}
}

// moveProbes are what moving delayed messages that are due needs. A process that publishes them does so, besides consumers.
func moveProbes(k keys) []probe {
	return append(append(publishProbes(k), delayProbes(k)...),
		probe{"+zrangebyscore", []any{"zrangebyscore", k.due, 1, 0}, "own"},
		probe{"+zrange", []any{"zrange", k.due, 0, 0}, "own"},
		probe{"+zrem", []any{"zrem", k.due, ""}, "own"},
		probe{"+hget", []any{"hget", k.dueBody, ""}, "own"},
	)
}

// probesOf are what the operation of an error needs, by its first word.
func probesOf(op string) func(keys) []probe {
	switch verb, _, _ := strings.Cut(op, " "); verb {
	case "lag":
		return lagProbes
	case "move":
		return moveProbes
	case "put", "replay", "discard", "record":
		return letterProbes
	}
	return func(k keys) []probe { return consumeProbes(k.group(noGroup)) }
}

// lacking runs probes in one round trip and returns the rules that are missing. An error means that it could not find out.
func lacking(ctx context.Context, node *redis.Client, k keys, probes []probe) ([]string, error) {
	p := node.Pipeline()
	cmds := make([]*redis.Cmd, len(probes))
	for i, pr := range probes {
		cmds[i] = p.Do(ctx, pr.args...)
	}
	if _, err := p.Exec(ctx); err != nil && err != redis.Nil && !answered(err) {
		return nil, err
	}
	return missing(cmds, k, probes), nil
}

// missing are the rules that the answers to probes ask for, each once. A user without a command is not told whether it might
// have the key.
func missing(cmds []*redis.Cmd, k keys, probes []probe) (rules []string) {
	seen := map[string]bool{}
	add := func(rule string) {
		if !seen[rule] {
			seen[rule] = true
			rules = append(rules, rule)
		}
	}
	var patterns []string
	for i, cmd := range cmds {
		err := cmd.Err()
		switch {
		case !redis.HasErrorPrefix(err, "NOPERM"):
		case !strings.Contains(err.Error(), "key"):
			add(probes[i].rule)
		case probes[i].keys == "stream":
			patterns = append(patterns, "~"+k.stream, "~"+k.tag+"*")
		default:
			patterns = append(patterns, "~"+k.tag+"*")
		}
	}
	for _, pattern := range patterns {
		add(pattern)
	}
	return rules
}
