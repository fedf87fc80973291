package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Sentinel is a master, a replica, and a sentinel that watches them and promotes the replica once it misses the master for DownAfter.
// The replica follows through a proxy, which can cut it off.
type Sentinel struct {
	Master, Replica *Server // as started; AwaitFailover exchanges them
	Watcher         *Server
	MasterName      string
	URL             string // redis+sentinel://...

	t     testing.TB
	args  []string
	links map[*Server]*Proxy // by whom they lead to
}

// DownAfter is the sentinel's down-after-milliseconds. After a failover it may take a second to connect to the new master; with as
// little as that it would think at once that this one is down too.
const DownAfter = 1500 * time.Millisecond

// StartSentinel runs the three servers and waits until the sentinel knows the replica, and that it is in sync.
func StartSentinel(t testing.TB, args ...string) *Sentinel {
	t.Helper()
	s := &Sentinel{MasterName: "mymaster", t: t, args: append([]string{noSyncDelay, "0"}, args...), links: map[*Server]*Proxy{}}
	s.Master = s.linked(Start(t, s.args...))
	s.Replica = s.linked(Start(t, append(s.replicaOf(s.Master), s.args...)...))
	s.watch()
	s.URL = "redis+sentinel://" + s.Watcher.Addr + "?master_name=" + s.MasterName
	s.awaitReplica()
	return s
}

func (s *Sentinel) linked(server *Server) *Server {
	s.links[server] = NewProxy(s.t, server.Addr)
	return server
}

func (s *Sentinel) replicaOf(master *Server) []string {
	host, port, _ := net.SplitHostPort(s.links[master].Addr)
	return []string{"--replicaof", host + " " + port}
}

// watch starts the sentinel. After the failover-timeout it has replicas follow the master itself, not the proxy before it.
func (s *Sentinel) watch() {
	host, port, _ := net.SplitHostPort(s.Master.Addr)
	conf := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 1\nsentinel down-after-milliseconds %[1]s %[4]d\nsentinel failover-timeout %[1]s 600000\n",
		s.MasterName, host, port, DownAfter.Milliseconds())
	w := &Server{t: s.t, Dir: s.t.TempDir()}
	file := filepath.Join(w.Dir, "sentinel.conf")
	check(s.t, os.WriteFile(file, []byte(conf), 0o600))
	w.args = func(port string) []string {
		return []string{file, "--sentinel", "--port", port, "--bind", "127.0.0.1", "--dir", w.Dir, "--logfile", w.log()}
	}
	s.Watcher = w.run("redis://")
}

// Link is what the replica follows its master through. What breaks it breaks no client.
func (s *Sentinel) Link() *Proxy { return s.links[s.Master] }

// AwaitFailover waits until the sentinel says that the replica is the master, as it does after Master was killed.
func (s *Sentinel) AwaitFailover() {
	s.t.Helper()
	check(s.t, Eventually(30*time.Second, s.asking(func(ctx context.Context, c *redis.SentinelClient) error {
		addr, err := c.GetMasterAddrByName(ctx, s.MasterName).Result()
		if err == nil && net.JoinHostPort(addr[0], addr[1]) != s.Replica.Addr {
			err = fmt.Errorf("the sentinel has not promoted the replica: its master is %v", addr)
		}
		return err
	})))
	s.Master, s.Replica = s.Replica, s.Master
}

// HandOver has the sentinel exchange master and replica though both are well, and waits until the old master is a replica in sync. It
// goes on as a master for ten seconds first, and what it takes in that time is gone.
func (s *Sentinel) HandOver() {
	s.t.Helper()
	check(s.t, s.Watcher.Client().Do(s.t.Context(), "sentinel", "failover", s.MasterName).Err())
	s.AwaitFailover()
	s.awaitReplica()
}

// Rejoin starts Replica, which was the master and was killed, as a replica of the one that is now, and waits until it is in sync
// and the sentinel knows. What it had and the master has not is gone.
func (s *Sentinel) Rejoin() {
	s.t.Helper()
	r := s.Replica
	r.args = func(port string) []string { return append(r.own(port), append(s.replicaOf(s.Master), s.args...)...) }
	r.Restart()
	s.awaitReplica()
}

func (s *Sentinel) awaitReplica() {
	s.t.Helper()
	check(s.t, Eventually(30*time.Second, s.asking(func(ctx context.Context, c *redis.SentinelClient) error {
		replicas, err := c.Replicas(ctx, s.MasterName).Result()
		if err != nil {
			return err
		}
		for _, r := range replicas {
			if net.JoinHostPort(r["ip"], r["port"]) == s.Replica.Addr && r["flags"] == "slave" && r["master-link-status"] == "ok" {
				return nil
			}
		}
		return fmt.Errorf("the sentinel does not know that the replica is in sync: %v", replicas)
	})))
}

func (s *Sentinel) asking(f func(context.Context, *redis.SentinelClient) error) func(context.Context) error {
	return func(ctx context.Context) error {
		c := redis.NewSentinelClient(&redis.Options{Addr: s.Watcher.Addr})
		defer c.Close()
		return f(ctx, c)
	}
}
