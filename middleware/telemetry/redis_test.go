package telemetry_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/middleware/telemetry"
)

// That nothing of what redisstream sends passes the filters is shown on a real server in internal/telemetrytest. Here is what must
// pass: commands of applications.

func command(args ...any) redis.Cmder { return redis.NewCmd(context.Background(), args...) }

func TestRedisCommandFilter(t *testing.T) {
	var filter func(redis.Cmder) bool = telemetry.RedisCommandFilter // as redisotel takes it
	for _, c := range []redis.Cmder{
		command("hello", 3, "auth", "user", "secret"), command("AUTH", "secret"), command("client", "setinfo", "LIB-NAME", "x"),
		command("ping"), command("cluster", "slots"), command("command"), command("info", "server"),
		command("xrange", "{orders.placed}:outbox", "-", "+"), command("xlen", "{p:orders.placed}:billing:dead"),
		command("evalsha", "sha", 2, "{orders.placed}:due", "{orders.placed}:due:body"), command("EVAL", "return 0", 1, "{o}:g:retry"),
		command("set", "{o}:g:seen:key", "1"), command("get", "{o}:g:cursor"),
		command("xadd", "orders.placed", "0-0", "f", "v"), command("xack", "orders.placed", "typedbus:probe", "0-0"),
	} {
		require.True(t, filter(c), "%v", c)
	}
	for _, c := range []redis.Cmder{
		command("get", "user:1"), command("set", "{user:1}:cart", "x"), command("hgetall", "{user:1}:cart:items"), command("incr", "due"),
		command("xadd", "audit", "*", "f", "v"), command("xread", "streams", "audit", "$"), command("xack", "audit", "g", "1-0"),
		command("eval", "return 1", 0), command("evalsha", "sha", 1, "{user:1}:cart", "{o}:g:dead"), command("eval", "return 1", -1, "k"),
		command("eval", "return 1", 9, "k"), command("eval"), command("dbsize"), command("{o}:due"), command("set", []byte("{o}:due"), "v"),
	} {
		require.False(t, filter(c), "%v", c)
	}
}

func TestRedisPipelineFilter(t *testing.T) {
	var filter func([]redis.Cmder) bool = telemetry.RedisPipelineFilter
	require.True(t, filter([]redis.Cmder{command("hello", 3), command("client", "setinfo", "LIB-NAME", "x")}))
	require.True(t, filter([]redis.Cmder{command("type", "orders.placed"), command("xlen", "{o}:g:dead")}))
	require.False(t, filter([]redis.Cmder{command("ping"), command("incr", "n")}))
	require.False(t, filter([]redis.Cmder{command("multi"), command("xadd", "audit", "*", "f", "v"), command("exec")}))
}
