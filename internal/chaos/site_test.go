package chaos

import (
	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/internal/redistest"
)

// A site is the servers that a row runs on.
type site struct {
	url      string
	redis    redis.UniversalClient
	server   *redistest.Server   // the only one; nil if there are several
	sentinel *redistest.Sentinel // nil without one
	cluster  *redistest.Cluster  // nil without one
	proxy    *redistest.Proxy    // between the only server and those of row.behind; nil if there is none
	clock    *redistest.Clock    // of the only server; nil if it is that of the machine
}

// single is one server.
func single(flags ...string) func(*run) site {
	return func(r *run) site {
		s := redistest.Start(r, flags...)
		at := site{url: s.URL, redis: s.Client(), server: s}
		if r.behind != nobody {
			at.proxy = redistest.NewProxy(r, s.Addr)
		}
		return at
	}
}

// watched is a master, its replica and a Sentinel.
func watched(flags ...string) func(*run) site {
	return func(r *run) site {
		s := redistest.StartSentinel(r, flags...)
		c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.MasterName, SentinelAddrs: []string{s.Watcher.Addr}})
		r.Cleanup(func() { c.Close() })
		return site{url: s.URL, redis: c, sentinel: s}
	}
}

// clustered is a Cluster.
func clustered(masters, replicas int, flags ...string) func(*run) site {
	return func(r *run) site {
		c := redistest.StartCluster(r, masters, replicas, flags...)
		return site{url: c.URL, redis: c.Client(), cluster: c}
	}
}
