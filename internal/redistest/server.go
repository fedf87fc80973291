// Package redistest runs real redis-server processes for tests: alone, with TLS, as a Cluster, with Sentinel, and behind a
// proxy that breaks connections.
package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is one redis-server process on a free port of 127.0.0.1, with its data in a directory of the test.
// It is stopped, by its process id, when the test ends, however it ends.
type Server struct {
	Addr string      // host:port
	URL  string      // redis://host:port, or rediss://host:port
	Dir  string      // its data, configuration and log
	TLS  *tls.Config // what a client needs to trust it; nil without TLS
	CA   *Authority  // that signed its certificate; nil without TLS

	t    testing.TB
	args func(port string) []string
	env  []string // that the process has besides
	cmd  *exec.Cmd
	mu   sync.Mutex
}

// Binary is the server to run: $TYPEDBUS_REDIS_SERVER (a command, perhaps with a space-separated prefix), or redis-server.
func Binary() []string {
	if s := os.Getenv("TYPEDBUS_REDIS_SERVER"); s != "" {
		return strings.Fields(s)
	}
	return []string{"redis-server"}
}

// Version is its name and version, as "Redis 7.0.15", or the command that starts it if that does not say.
func Version() string {
	b := Binary()
	out, _ := exec.Command(b[0], append(b[1:], "--version")...).Output()
	// as: Valkey server v=9.1.2 sha=00000000:0 malloc=jemalloc-5.3.1 bits=64 build=9108e8f1788612b
	name, rest, ok := strings.Cut(string(out), " server v=")
	version, _, too := strings.Cut(rest, " ")
	if !ok || !too {
		return strings.Join(b, " ")
	}
	return name + " " + version
}

// Start runs a server with the given extra arguments ("--appendonly", "yes") and waits until it answers.
// A test whose server cannot be run fails: it is never skipped.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, Dir: t.TempDir()}
	s.args = func(port string) []string { return append(s.own(port), args...) }
	return s.run("redis://")
}

// own are the arguments that are this server's alone.
func (s *Server) own(port string) []string {
	return []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", s.Dir, "--logfile", s.log()}
}

// run starts the server on a port of its own. Another process may take the port between our look and the server's bind, so
// it tries a few.
func (s *Server) run(scheme string) *Server {
	s.t.Helper()
	s.t.Cleanup(s.Kill)
	var err error
	for range 5 {
		s.Addr = freeAddr(s.t)
		s.URL = scheme + s.Addr
		if err = s.start(); err == nil {
			return s
		}
	}
	s.t.Fatalf("redistest: %v (is redis-server installed? `make setup` does it)", err)
	return nil
}

// Kill ends the process at once, as kill -9 does. It is safe to call on a dead server.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGCONT)
	s.cmd.Process.Signal(syscall.SIGKILL)
	s.cmd.Wait()
	s.cmd = nil
}

// Restart starts a killed server again, on the same port and directory, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatalf("redistest: restart: %v", err)
	}
}

// Pause stops the process without ending it (SIGSTOP): connections stay open and nothing answers. Resume continues it.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume continues a paused server.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// Client returns a new client of the server, closed when the test ends.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr, TLSConfig: s.TLS})
	s.t.Cleanup(func() { c.Close() })
	return c
}

// Pid is the process id of the server, 0 while it is dead.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		s.cmd.Process.Signal(sig)
	}
}

func (s *Server) log() string { return filepath.Join(s.Dir, "log") }

func (s *Server) start() error {
	_, port, _ := net.SplitHostPort(s.Addr)
	bin := Binary()
	cmd := exec.Command(bin[0], append(bin[1:len(bin):len(bin)], s.args(port)...)...)
	cmd.Env = append(os.Environ(), s.env...)
	// The server must not outlive a test process that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.mu.Lock()
	s.cmd = cmd
	s.mu.Unlock()
	if err := s.await(10 * time.Second); err != nil {
		s.Kill()
		log, _ := os.ReadFile(s.log())
		return fmt.Errorf("%w; its log ends: %s", err, tail(string(log), 2000))
	}
	return nil
}

// await waits until the server answers a PING, with or without a password asked for.
func (s *Server) await(limit time.Duration) error {
	return Eventually(limit, func(ctx context.Context) error {
		if err := s.ping(ctx); err != nil {
			return fmt.Errorf("redis-server does not answer: %w", err)
		}
		return nil
	})
}

// Eventually calls f every 10 ms until it returns nil, and returns its last error if that takes longer than limit.
func Eventually(limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// ping speaks the protocol by hand: a server with a password answers too, with an error that counts as life.
func (s *Server) ping(ctx context.Context) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	if s.TLS != nil {
		c = tls.Client(c, s.TLS)
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	if reply := string(buf[:n]); strings.HasPrefix(reply, "-LOADING") {
		return errors.New(reply)
	}
	return nil
}

func freeAddr(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func freePort(t testing.TB) string {
	_, port, _ := net.SplitHostPort(freeAddr(t))
	return port
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }
