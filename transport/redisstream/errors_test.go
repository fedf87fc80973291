package redisstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// answerError is an error reply as go-redis returns it.
func answerError(t *testing.T, text string) error {
	c := redis.NewClient(&redis.Options{Addr: fakeRedis(t, func(args []string) string {
		if args[0] == "get" {
			return "-" + text + "\r\n"
		}
		return "-ERR unknown command\r\n"
	}), Protocol: 2, MaxRetries: -1})
	defer c.Close()
	err := c.Get(t.Context(), "k").Err()
	require.Error(t, err)
	return err
}

func TestClarify(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 0)
	require.NoError(t, s.Client().HSet(t.Context(), "k", "f", "v").Err())
	for text, want := range map[string]struct {
		says  string
		class class
	}{
		"NOGROUP No such key 'k' or consumer group 'g'":                                  {"consumer group does not exist", recreate},
		"LOADING Redis is loading the dataset in memory":                                 {"loading its data", passing},
		"BUSY Redis is busy running a script.":                                           {"a script that does not end", passing},
		"MASTERDOWN Link with MASTER is down":                                            {"lost its master", passing},
		"NOREPLICAS Not enough good replicas to write.":                                  {"too few replicas", passing},
		"CLUSTERDOWN Hash slot not served":                                               {"CLUSTER INFO", passing},
		"TRYAGAIN Multiple keys request during rehashing of slot":                        {"on its way", passing},
		"MOVED 1 127.0.0.1:1":                                                            {"use a Cluster client", passing},
		"UNBLOCKED the stream key no longer exists":                                      {"was removed", passing},
		"READONLY You can't write against a read only replica.":                          {"connect to the master", passing},
		"ERR max number of clients reached":                                              {"maxclients", passing},
		"OOM command not allowed when used memory > 'maxmemory'.":                        {"reached its maxmemory", operator},
		"MISCONF Redis is configured to save RDB snapshots":                              {"cannot save to disk", operator},
		"NOAUTH Authentication required.":                                                {"wants a password", operator},
		"WRONGPASS invalid username-password pair or user is disabled.":                  {"refuses the user name or the password", operator},
		"NOPERM this user has no permissions to run the 'xack' command":                  {"ACL SETUSER <user> +xack", operator},
		"NOPERM No permissions to access a key":                                          {"ACL SETUSER <user> ~k ~{k}:*", operator},
		"WRONGTYPE Operation against a key holding the wrong kind of value":              {"the key k holds a hash, not a stream", operator},
		"WRONGTYPE the key x holds a set and not a zset script: 1, on @user:2.":          {"the key x holds a set and not a zset: rename", operator},
		"CROSSSLOT Keys in request don't hash to the same slot":                          {"different slots", operator},
		"ERR unknown command 'xadd', with args beginning with: 'hunter2'":                {"does not know the command", operator},
		"ERR something new\x00\x1b":                                                      {"Redis answers: ERR something new??", passing},
		"ERR ACL failure in script: User x has no permissions to run the 'hset' command": {"ACL SETUSER <user> +hset", operator},
	} {
		err := answerError(t, text)
		got := tr.clarify("publish k", "k", err)
		require.Regexp(t, "^redisstream: publish k: ", got.Error())
		require.ErrorContains(t, got, want.says)
		require.Equal(t, want.class, classify(err), text)
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", got, got, got), "hunter2")
		require.Equal(t, got, tr.clarify("again", "k", got), "once is enough")
	}
	require.ErrorIs(t, tr.clarify("x", "k", answerError(t, "OOM x")), transport.ErrNoRoom)
	require.NoError(t, tr.clarify("x", "k", nil))

	for err, want := range map[error]string{
		context.Canceled:        "context canceled",
		redis.ErrPoolTimeout:    "raise PoolSize",
		redis.ErrClosed:         "the client was closed",
		transport.ErrClosed:     "transport: closed",
		io.EOF:                  "the connection to Redis broke",
		errors.New("odd\nline"): "odd?line",
		errors.New("redis: can't parse reply=\"hunter2\" reading string"): "what answers is not Redis",
	} {
		got := tr.clarify("op", "k", err)
		require.ErrorContains(t, got, want)
		require.NotContains(t, fmt.Sprintf("%v %#v", got, got), "hunter2")
	}
}
