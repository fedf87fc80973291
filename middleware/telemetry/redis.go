package telemetry

import (
	"reflect"
	"slices"
	"strings"
)

// RedisCommand is what the filters need of a redis.Cmder, so that this package need not import go-redis.
type RedisCommand interface {
	Name() string // in lower case or not
	Args() []any  // the name among them
}

// RedisCommandFilter is for redisotel.WithCommandFilter: it returns true, which means "no span", for commands that the Redis
// transport sends, and for those with which go-redis sets up a connection. Use it where a client that redisotel traces is given to
// redisstream.New, or each event has several spans more, some of them without a parent. Commands of handlers keep their spans.
//
//	redisotel.InstrumentTracing(client,
//		redisotel.WithCommandFilter(telemetry.RedisCommandFilter),
//		redisotel.WithCommandsFilter(telemetry.RedisPipelineFilter),
//		redisotel.WithDialFilter(true),    // connecting needs no spans either
//		redisotel.WithDBStatement(false))  // statements show what is stored
//
// Together with a filter of your own: func(c redis.Cmder) bool { return telemetry.RedisCommandFilter(c) || mine(c) }.
func RedisCommandFilter[C RedisCommand](cmd C) bool { return isPlumbing(cmd) || isOurs(cmd) }

// RedisPipelineFilter is [RedisCommandFilter] for redisotel.WithCommandsFilter: it returns true for pipelines of the transport, and
// false for those of handlers.
func RedisPipelineFilter[C RedisCommand](cmds []C) bool {
	plumbing := true
	for _, cmd := range cmds {
		if isOurs(cmd) {
			return true
		}
		plumbing = plumbing && isPlumbing(cmd)
	}
	return plumbing
}

// plumbing are commands about connections and servers, which go-redis and the transport send on their own. Some of them carry passwords.
var plumbing = []string{"acl", "asking", "auth", "client", "cluster", "command", "hello", "info", "ping", "readonly", "readwrite", "select", "time"}

func isPlumbing(cmd RedisCommand) bool {
	return slices.Contains(plumbing, strings.ToLower(cmd.Name()))
}

const transportPackage = "github.com/typedbus/typedbus/transport/redisstream"

// isOurs says whether the transport sent a command: it has a Go type of the transport's, one of its keys, or is a probe for rights.
func isOurs(cmd RedisCommand) bool {
	t := reflect.TypeOf(cmd)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.PkgPath() == transportPackage {
		return true
	}
	args := cmd.Args()
	return slices.ContainsFunc(keysOf(args), isOurKey) || isProbe(args)
}

// keysOf are the arguments in which commands of the transport have keys.
func keysOf(args []any) []any {
	if len(args) < 2 {
		return nil
	}
	name, _ := args[0].(string)
	if n, ok := numKeys(args); ok && strings.HasPrefix(strings.ToLower(name), "eval") {
		return args[3:min(3+n, len(args))]
	}
	return args[1:2]
}

func numKeys(args []any) (n int, ok bool) {
	if len(args) < 4 {
		return 0, false
	}
	n, ok = args[2].(int)
	return max(n, 0), ok
}

// isOurKey says whether a key is one that the transport makes beside a stream: "{orders.placed}:due", "{orders.placed}:billing:dead".
func isOurKey(arg any) bool {
	key, _ := arg.(string)
	if !strings.HasPrefix(key, "{") {
		return false
	}
	_, rest, _ := strings.Cut(key, "}:")
	parts := strings.Split(rest, ":")
	if slices.Contains([]string{"due", "outbox"}, parts[0]) {
		return true
	}
	return len(parts) > 1 && slices.Contains([]string{"retry", "due", "dead", "cursor", "once", "seen", "acts"}, parts[1])
}

// isProbe knows the harmless commands with which the transport finds out what it may do: they name an entry that cannot be, or a group
// that no group can be called.
func isProbe(args []any) bool {
	return slices.Contains(args, any("typedbus:probe")) || len(args) > 2 && args[0] == "xadd" && args[2] == "0-0"
}
