package redisstream

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// opens opens url, publishes and closes.
func opens(t *testing.T, url string) {
	t.Helper()
	tr, err := Open(bounded(t), url, Options{Warn: func(err error) { t.Errorf("warned: %v", err) }})
	require.NoError(t, err)
	require.NoError(t, tr.Publish(bounded(t), transport.Topic{Name: "orders.placed"}, text2msg("x")))
	require.NoError(t, tr.Close())
	require.NoError(t, tr.Close(), "closing twice")
	require.Error(t, tr.cmd.Ping(t.Context()).Err(), "Close closes what Open opened")
}

func TestOpenOneServer(t *testing.T) {
	leakFree(t)
	opens(t, redistest.Start(t).URL)
}

func TestOpenWithPassword(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "p@ss/w%rd#1")
	opens(t, "redis://:p%40ss%2Fw%25rd%231@"+s.Addr)
}

func TestOpenUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "redis.sock")
	redistest.Start(t, "--unixsocket", path)
	opens(t, "unix://"+path)
	_, err := Open(bounded(t), "unix://"+path+".not", Options{})
	require.ErrorContains(t, err, "correct the path of its socket")
}

func TestOpenCluster(t *testing.T) {
	c := redistest.StartCluster(t, 3, 0)
	t.Run("opens", func(t *testing.T) {
		leakFree(t)
		opens(t, c.URL)
	})
	_, err := Open(bounded(t), c.Nodes[0].URL, Options{})
	require.EqualError(t, err, "redisstream: this Redis is part of a Cluster: use a URL that begins with redis+cluster://, or a ClusterClient")
	_, err = Open(bounded(t), "redis+cluster://"+redistest.Start(t).Addr, Options{})
	require.EqualError(t, err, "redisstream: connect: this Redis is not part of a Cluster: use a plain client, or a URL that begins with redis://")
}

func TestOpenSentinel(t *testing.T) {
	s := redistest.StartSentinel(t)
	t.Run("opens", func(t *testing.T) {
		leakFree(t)
		opens(t, s.URL)
	})
	_, err := Open(bounded(t), s.Watcher.URL, Options{})
	require.EqualError(t, err, "redisstream: this is a Sentinel and no Redis: use a URL that begins with redis+sentinel://, or a failover client")
	_, err = Open(bounded(t), s.Replica.URL, Options{})
	require.EqualError(t, err, "redisstream: this Redis is a replica, which nothing can be written to: connect to its master")
	_, err = Open(bounded(t), "redis+sentinel://"+s.Watcher.Addr+"?master_name=other", Options{})
	require.ErrorContains(t, err, "redisstream: connect: ")

	tr, err := Open(bounded(t), s.URL, Options{})
	require.NoError(t, err)
	defer tr.Close()
	publish := func(ctx context.Context) error {
		return tr.Publish(ctx, transport.Topic{Name: "orders"}, text2msg("x"))
	}
	require.NoError(t, publish(bounded(t)))
	s.Master.Kill()
	require.NoError(t, redistest.Eventually(20*time.Second, publish), "publishing goes on after the failover")
	require.NotZero(t, s.Replica.Client().XLen(t.Context(), "orders").Val())
}

func TestOpenTLS(t *testing.T) {
	s, plain := redistest.StartTLS(t), redistest.Start(t)
	opens(t, s.URL+"?skip_verify=true")

	tr := New(s.Client(), Options{})
	defer tr.Close()
	require.NoError(t, tr.Publish(bounded(t), orders1, text2msg("x")), "a client with the right certificates")

	_, err := Open(bounded(t), s.URL, Options{})
	require.EqualError(t, err, "redisstream: connect: the server's certificate is signed by an authority that is not trusted here: set RootCAs in Options.TLS or in the client's TLSConfig")
	_, err = Open(bounded(t), "redis://"+s.Addr, Options{})
	require.ErrorContains(t, err, "wants TLS (rediss://)")
	_, err = Open(bounded(t), "rediss://"+plain.Addr+"?dial_timeout=300ms", Options{})
	require.ErrorContains(t, err, "the server does not speak TLS: use redis:// instead of rediss://")
}

var orders1 = transport.Topic{Name: "orders.placed"}

func TestOpenWhereThereIsNoRedis(t *testing.T) {
	leakFree(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := lis.Addr().String()
	lis.Close()
	_, err = Open(bounded(t), "redis://user:hunter2@"+addr, Options{})
	require.EqualError(t, err, "redisstream: connect: cannot reach Redis at "+addr+": connection refused: start it, or correct the URL")

	_, err = Open(bounded(t), "redis://u:hunter2@no-such-host.invalid", Options{})
	require.ErrorContains(t, err, `redisstream: connect: cannot find the host "no-such-host.invalid"`)
	require.NotContains(t, err.Error(), "hunter2")
}

func TestOpenWithTheWrongPassword(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "right")
	_, err := Open(bounded(t), "redis://user:hunter2@"+s.Addr, Options{})
	require.EqualError(t, err, "redisstream: connect: Redis refuses the user name or the password, or the user is off: correct them in the URL, "+
		"Options.Credentials or the client's options; ACL GETUSER shows whether it is on")
	_, err = Open(bounded(t), s.URL, Options{})
	require.EqualError(t, err, "redisstream: connect: Redis wants a password: give one in the URL (redis://user:password@host), "+
		"Options.Credentials or the client's options")
}

func TestOpenWhatIsNotRedis(t *testing.T) {
	addr := fakeRedis(t, func([]string) string { return "HTTP/1.1 400 hunter2\r\n" })
	_, err := Open(bounded(t), "redis://"+addr, Options{})
	require.ErrorContains(t, err, "what answers is not Redis")
	require.NotContains(t, err.Error(), "hunter2")
}

// old is a server without HELLO, as before Redis 6, or with it.
func old(version string, knowsHello bool) func([]string) string {
	return func(args []string) string {
		switch {
		case args[0] == "hello" && knowsHello:
			return hello(version, "standalone", "master")
		case args[0] == "ping":
			return "+PONG\r\n"
		case args[0] == "info":
			return bulk("# Server\r\nredis_version:" + version + "\r\nmaxmemory_policy:noeviction\r\n")
		case args[0] == "client":
			return "+OK\r\n"
		}
		return "-ERR unknown command `" + args[0] + "`, with args beginning with: `secret`\r\n"
	}
}

func TestOpenAnOldServer(t *testing.T) {
	for _, c := range []struct {
		version string
		hello   bool
	}{{"5.0.14", false}, {"6.2.14", true}} {
		_, err := Open(bounded(t), "redis://"+fakeRedis(t, old(c.version, c.hello)), Options{})
		require.EqualError(t, err, "redisstream: redis "+c.version+" is too old: upgrade the server to 7.0 or newer")
	}
	tr, err := Open(bounded(t), "redis://"+fakeRedis(t, old("7.0.0", true)), Options{})
	require.NoError(t, err)
	require.NoError(t, tr.Close())
}

func TestOpenWaitsWhileRedisIsLoading(t *testing.T) {
	var pings atomic.Int32
	loading := func(args []string) string {
		if args[0] == "ping" && pings.Add(1) < 8 {
			return "-LOADING Redis is loading the dataset in memory\r\n"
		}
		return old("7.0.0", true)(args)
	}
	addr := fakeRedis(t, loading)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, "redis://"+addr+"?max_retries=-1", Options{})
	require.ErrorContains(t, err, "Redis is loading its data from disk")

	tr, err := Open(bounded(t), "redis://"+addr, Options{})
	require.NoError(t, err)
	require.NoError(t, tr.Close())
	require.GreaterOrEqual(t, pings.Load(), int32(8))
}

func TestWarnings(t *testing.T) {
	var warns []string
	o := Options{Warn: func(err error) { warns = append(warns, err.Error()) }}
	tr, err := Open(bounded(t), redistest.Start(t, "--maxmemory-policy", "allkeys-lru").URL, o)
	require.NoError(t, err)
	require.NoError(t, tr.Close())
	require.Len(t, warns, 1)
	require.Regexp(t, "^redisstream: maxmemory-policy is allkeys-lru: .* set it to noeviction$", warns[0])

	warns = nil
	late := func(args []string) string {
		if args[0] == "time" {
			return "*2\r\n" + bulk(fmt.Sprint(time.Now().Add(-time.Hour).Unix())) + bulk("0")
		}
		return old("7.0.0", true)(args)
	}
	tr, err = Open(bounded(t), "redis://"+fakeRedis(t, late), o)
	require.NoError(t, err)
	require.InDelta(t, -time.Hour, time.Until(tr.serverNow()), float64(2*time.Second))
	require.NoError(t, tr.Close())
	require.Len(t, warns, 1)
	require.Regexp(t, "^redisstream: the clocks of Redis and this host differ by 1h0m[01]s: synchronize them", warns[0])
}

func TestNewReportsBadOptionsAtFirstUse(t *testing.T) {
	for name, c := range map[string]struct {
		client redis.UniversalClient
		opts   Options
		want   []string
	}{
		"nil":          {want: []string{"the client is nil"}},
		"typed nil":    {client: (*redis.Client)(nil), want: []string{"the client is nil"}},
		"nil cluster":  {client: (*redis.ClusterClient)(nil), want: []string{"the client is nil"}},
		"ring":         {client: redis.NewRing(&redis.RingOptions{}), want: []string{"cannot use a *redis.Ring: give New a *redis.Client"}},
		"replicas":     {client: redis.NewClusterClient(&redis.ClusterOptions{ReadOnly: true}), want: []string{"leave ReadOnly, RouteByLatency and RouteRandomly out"}},
		"prefix":       {client: redis.NewClient(&redis.Options{}), opts: Options{Prefix: "{x}"}, want: []string{`bad Prefix "{x}"`}},
		"glob":         {client: redis.NewClient(&redis.Options{}), opts: Options{Prefix: "x*"}, want: []string{"bad Prefix"}},
		"all together": {opts: Options{Prefix: "{", Mappings: map[string]Mapping{"b d": {}, "x": {}}}, want: []string{"client is nil", "bad Prefix", `bad topic name "b d"`, `mapping of "x": its Data is empty`}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := New(c.client, c.opts)
			err := tr.Publish(bounded(t), orders1, text2msg("x"))
			require.Equal(t, []transport.Outcome{transport.NotStored}, outcomesOf(t, err))
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
				require.ErrorContains(t, tr.preflightConsumer(bounded(t), "x", "g"), want)
			}
			require.NoError(t, tr.Close())
			if c.client != nil && !strings.Contains(name, "nil") {
				c.client.Close()
			}
		})
	}
}

func TestCloseLeavesAGivenClientOpen(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	tr := New(c, Options{})
	require.NoError(t, tr.Publish(bounded(t), orders1, text2msg("x")))
	require.NoError(t, tr.Close())
	require.NoError(t, c.Ping(t.Context()).Err())

	err := tr.Publish(bounded(t), orders1, text2msg("y"))
	require.ErrorIs(t, err, transport.ErrClosed)
	require.Equal(t, []transport.Outcome{transport.NotStored}, outcomesOf(t, err))
	require.EqualValues(t, 1, c.XLen(t.Context(), "orders.placed").Val())
	_, err = tr.reads.conn(bounded(t), "orders.placed")
	require.ErrorIs(t, err, redis.ErrClosed)
}

func TestFailoverClientIsCloned(t *testing.T) {
	s := redistest.StartSentinel(t)
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.MasterName, SentinelAddrs: []string{s.Watcher.Addr}})
	defer c.Close()
	tr := New(c, Options{})
	defer tr.Close()
	require.NoError(t, tr.Publish(bounded(t), orders1, text2msg("x")))
	rc, err := tr.reads.conn(bounded(t), "orders.placed")
	require.NoError(t, err)
	defer rc.close()
	require.NoError(t, rc.Set(t.Context(), "k", "v", 0).Err(), "it is the master")
	require.NoError(t, tr.leases.Set(t.Context(), "k", "v", 0).Err())
}

func TestClonedOptionsKeepWhatIsOff(t *testing.T) {
	c := redis.NewClient(&redis.Options{WriteTimeout: -1, MinRetryBackoff: -1, MaxRetries: -1})
	defer c.Close()
	d := redis.NewClient(cloneOptions(c.Options()))
	defer d.Close()
	require.Zero(t, d.Options().WriteTimeout)
	require.Zero(t, d.Options().MinRetryBackoff)
	require.Zero(t, d.Options().MaxRetries)
	require.Equal(t, c.Options().MaxRetryBackoff, d.Options().MaxRetryBackoff)
}

func TestReadConn(t *testing.T) {
	leakFree(t)
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 0)
	ctx := bounded(t)
	rc, err := tr.reads.conn(ctx, "orders")
	require.NoError(t, err)
	require.NotZero(t, rc.id)

	blocked := make(chan error, 1)
	read := func() { blocked <- rc.Process(ctx, once{redis.NewCmd(ctx, "blpop", "nothing", 20)}) }
	go read()
	awaitBlocked(t, s)
	require.NoError(t, rc.unblock(ctx))
	require.ErrorIs(t, <-blocked, redis.Nil, "unblocked, and the connection stays")

	go read()
	awaitBlocked(t, s)
	rc.close()
	require.Error(t, <-blocked, "closing ends a read")
	rc.close()
}

func awaitBlocked(t *testing.T, s *redistest.Server) {
	t.Helper()
	c := s.Client()
	require.NoError(t, redistest.Eventually(5*time.Second, func(ctx context.Context) error {
		info, err := c.Info(ctx, "clients").Result()
		if err == nil && !strings.Contains(info, "blocked_clients:1") {
			err = fmt.Errorf("nobody is blocked")
		}
		return err
	}))
}
