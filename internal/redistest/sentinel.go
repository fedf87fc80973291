package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Sentinel is a master, a replica, and a sentinel that watches them and promotes the replica a second after the master died.
type Sentinel struct {
	Master, Replica *Server // as started; after a failover the roles have changed
	Watcher         *Server
	MasterName      string
	URL             string // redis+sentinel://...
}

// StartSentinel runs the three servers and waits until the sentinel knows the replica.
func StartSentinel(t testing.TB, args ...string) *Sentinel {
	t.Helper()
	s := &Sentinel{MasterName: "mymaster", Master: Start(t, append([]string{noSyncDelay, "0"}, args...)...)}
	host, port, _ := net.SplitHostPort(s.Master.Addr)
	s.Replica = Start(t, append([]string{"--replicaof", host + " " + port}, args...)...)

	conf := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 1\nsentinel down-after-milliseconds %[1]s 1000\nsentinel failover-timeout %[1]s 5000\n",
		s.MasterName, host, port)
	s.Watcher = &Server{t: t, Dir: t.TempDir()}
	file := filepath.Join(s.Watcher.Dir, "sentinel.conf")
	check(t, os.WriteFile(file, []byte(conf), 0o600))
	s.Watcher.args = func(port string) []string {
		return []string{file, "--sentinel", "--port", port, "--bind", "127.0.0.1", "--dir", s.Watcher.Dir, "--logfile", s.Watcher.log()}
	}
	s.Watcher.run("redis://")
	s.URL = "redis+sentinel://" + s.Watcher.Addr + "?master_name=" + s.MasterName

	check(t, Eventually(20*time.Second, func(ctx context.Context) error {
		info, err := s.Watcher.Client().Info(ctx, "sentinel").Result()
		if err == nil && !strings.Contains(info, "status=ok") || !strings.Contains(info, "slaves=1") {
			err = errors.New("the sentinel does not know the replica yet")
		}
		return err
	}))
	return s
}
