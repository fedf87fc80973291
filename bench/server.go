package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// A server is a redis-server process that has nothing else to do.
type server struct {
	addr string
	dir  string
	cmd  *exec.Cmd
	*redis.Client
}

func startServer(ctx context.Context) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{addr: net.JoinHostPort("127.0.0.1", port)}
	if s.dir, err = os.MkdirTemp("", "typedbus-bench-"); err != nil {
		return nil, err
	}
	s.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir, "--logfile", "log")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive a benchmark that is killed
	if err := s.cmd.Start(); err != nil {
		os.RemoveAll(s.dir)
		return nil, fmt.Errorf("redis-server: %w: `make setup` installs it", err)
	}
	s.Client = redis.NewClient(&redis.Options{Addr: s.addr})
	for range 500 {
		if err = s.Ping(ctx).Err(); err == nil {
			return s, nil
		}
		<-time.After(10 * time.Millisecond)
	}
	s.stop()
	return nil, fmt.Errorf("redis-server does not answer: %w", err)
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func (s *server) stop() {
	s.Close()
	s.cmd.Process.Kill()
	s.cmd.Wait()
	os.RemoveAll(s.dir)
}

// version is what the server says of itself, as "Redis 7.0.15".
func (s *server) version(ctx context.Context) string {
	info, err := s.InfoMap(ctx, "server").Result()
	if err != nil {
		return "unknown"
	}
	if v := info["Server"]["valkey_version"]; v != "" {
		return "Valkey " + v
	}
	return "Redis " + info["Server"]["redis_version"]
}

// serverCPU is the processor time of a server.
func serverCPU(ctx context.Context, c *redis.Client) (time.Duration, error) {
	info, err := c.InfoMap(ctx, "cpu").Result()
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, field := range []string{"used_cpu_sys", "used_cpu_user"} {
		var x float64
		if _, err := fmt.Sscan(strings.TrimSpace(info["CPU"][field]), &x); err != nil {
			return 0, fmt.Errorf("INFO cpu: %s: %w", field, err)
		}
		sum += x
	}
	return time.Duration(sum * float64(time.Second)), nil
}
