package redisstream

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestURLMakesTheRightClient(t *testing.T) {
	for url, want := range map[string]string{
		"redis://u:p@localhost:6379/3?pool_size=7": "*redis.Client tcp localhost:6379 u p 3 tls=false",
		"rediss://localhost":                       "*redis.Client tcp localhost:6379   0 tls=true",
		"unix:///tmp/redis.sock?db=2":              "*redis.Client unix /tmp/redis.sock   2 tls=false",
		"unix://u:p@/tmp/redis.sock":               "*redis.Client unix /tmp/redis.sock u p 0 tls=false",
		"redis+sentinel://s:q@h:26379/1?master_name=m&username=u&password=p&addr=h2:2": "*redis.Client tcp FailoverClient u p 1 tls=false",
		"redis+cluster://u:p%40%2F%25@h1:1?addr=h2:2&addr=h3:3&max_redirects=2":        "*redis.ClusterClient [h1:1 h2:2 h3:3] u p@/% tls=false",
		"rediss+cluster://h1": "*redis.ClusterClient [h1:6379]   tls=true",
	} {
		t.Run(url, func(t *testing.T) {
			c, err := newClient(url, &Options{})
			require.NoError(t, err)
			defer c.Close()
			got := ""
			switch c := c.(type) {
			case *redis.Client:
				o := c.Options()
				got = fmt.Sprintf("%T %s %s %s %s %d tls=%v", c, o.Network, o.Addr, o.Username, o.Password, o.DB, o.TLSConfig != nil)
				require.Equal(t, commandTimeout, o.ReadTimeout)
				require.True(t, o.ContextTimeoutEnabled)
			case *redis.ClusterClient:
				o := c.Options()
				got = fmt.Sprintf("%T %v %s %s tls=%v", c, o.Addrs, o.Username, o.Password, o.TLSConfig != nil)
			}
			require.Equal(t, want, got)
		})
	}
}

func TestURLSettingsWin(t *testing.T) {
	c, err := newClient("redis://localhost?read_timeout=7s&conn_max_lifetime=1h", &Options{})
	require.NoError(t, err)
	defer c.Close()
	o := c.(*redis.Client).Options()
	require.Equal(t, 7*time.Second, o.ReadTimeout)
	require.Equal(t, time.Hour, o.ConnMaxLifetime)
}

// canary is the secret of these tests, in a form that every piece of it can be looked for.
const canary = "hunter"

func TestBadURLsNeverShowAnyPartOfASecret(t *testing.T) {
	for _, url := range []string{
		"", "localhost:6379", "127.0.0.1:6379", "hunter", "hunter:hunter@localhost", "redis:hunter", "http://u:hunter@h",
		"hunter://u:p@h", "redis://u:hunter%zz@h:6379/0", "redis://hunter%zz:p@h", "redis://u:hunter%@h", "redis://u:12/hunter@h:6379",
		"redis://u:hunter/x@h:6379", "redis://u:1?hunter@h:6379", "redis://u:hunter?x@h", "redis://u:1?a=b&hunter@h", "redis://u:hunter#x@h", "redis://u:1#hunter@h:6379",
		"redis://u:1?hunter=@h", "redis://h:hunter", "redis://h/hunter", "redis://h/1/hunter", "redis://h?pool_size=hunter",
		"redis://h?read_timeout=hunter", "redis://h?pool_fifo=hunter", "redis://h?db=hunter", "redis://h?hunter%20x=1", "redis://h?hunter=1", "redis://[hunter",
		"redis://u:hunter\x00@h", "redis://u:hunter \n@h", "redis://:hunter@[::1", "unix://u:hunter@", "unix://u:hunter%zz@/s",
		"redis+sentinel://u:hunter@h", "redis+sentinel://u:hunter@h?master_name=m&replica_only=1", "redis+sentinel://u:hunter@h?master_name=m&addr=hunter",
		"redis+sentinel://u:p@h?master_name=m&password=hunter%zz&x=1", "redis+sentinel://h?master_name=m&pool_size=hunter&password=hunter",
		"redis+cluster://u:hunter@h?addr=hunter", "redis+cluster://u:hunter%zz@h", "redis+hunter://h", "rediss+unix://hunter", "unix+cluster:///hunter",
		"redis+cluster://h?read_only=hunter",
	} {
		c, err := newClient(url, &Options{})
		if !assertError(t, url, err) {
			c.Close()
			continue
		}
		require.NotContains(t, err.Error(), canary, url)
		require.Regexp(t, "^redisstream: bad URL: ", err.Error())
	}
}

func assertError(t *testing.T, url string, err error) bool {
	t.Helper()
	if err == nil {
		t.Errorf("%q is no error", url)
	}
	return err != nil
}

func TestBadURLsSayWhatToDo(t *testing.T) {
	for url, want := range map[string]string{
		"localhost:6379":                          "begin it with redis://",
		"redis://h/x":                             "the number of a database",
		"redis://u:a%zz@h":                        "percent-encode",
		"redis://u:1#2@h":                         "percent-encode that of the password as %23",
		"redis://u:1?2@h":                         "percent-encode those of the password as %3F",
		"redis://h?poolsize=1":                    "a parameter that is not known",
		"redis+sentinel://h":                      "add ?master_name=mymaster",
		"redis+sentinel://h/mymaster":             "add ?master_name=mymaster",
		"redis+sentinel://h?master_name=m&addr=x": "host:port",
		"redis://h?pool_size=x":                   "a value of the wrong kind",
		"unix://":                                 "unix:///path/to/redis.sock",
	} {
		_, err := newClient(url, &Options{})
		require.ErrorContains(t, err, want, url)
	}
}

func FuzzURLErrorsShowNoSecret(f *testing.F) {
	f.Add("redis://u:", "@h:6379/0")
	f.Add("redis+sentinel://", "%zz@h?master_name=m")
	f.Fuzz(func(t *testing.T, before, after string) {
		c, err := newClient(before+canary+after, &Options{})
		if err != nil {
			require.NotContains(t, err.Error(), canary)
			return
		}
		c.Close()
	})
}
