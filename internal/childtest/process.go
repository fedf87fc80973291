// Package childtest runs the test binary itself as a child process, for tests that kill it. What the child is TestMain decides,
// by the variable [Name].
package childtest

import (
	"bufio"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// Name is the environment variable that tells a test binary which child it is; it is not set otherwise.
const Name = "TYPEDBUS_CHILD"

// Process is a child. It is killed when the test ends, however it ends.
type Process struct {
	Lines chan string // what it prints, closed when it ends; up to 100,000 lines may wait here

	cmd   *exec.Cmd
	ended chan struct{}
}

// Start starts a child with a name, and with variables of the form NAME=value besides those of this process.
func Start(t testing.TB, name string, env ...string) *Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatalf("childtest: %v", err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), Name+"="+name), env...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive a test process that is killed
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("childtest: start %s: %v", name, err)
	}
	p := &Process{Lines: make(chan string, 100_000), cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.Lines <- s.Text()
		}
		close(p.Lines)
		_ = cmd.Wait() // a child that was killed has failed
	}()
	t.Cleanup(func() { p.Kill(); p.Wait() })
	return p
}

// Kill is kill -9. It does not wait.
func (p *Process) Kill() { _ = p.cmd.Process.Kill() }

// Terminate sends SIGTERM. It does not wait.
func (p *Process) Terminate() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }

// Wait waits for the end of the child and says whether it ended well.
func (p *Process) Wait() bool {
	<-p.ended
	return p.cmd.ProcessState.Success()
}
