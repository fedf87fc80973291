package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/typedbus/typedbus/bench/contest"
)

// Everything is measured in a process of its own, so that no rival inherits another's heap, goroutines or connections.

// A spec says what a child process does. It travels in an argument.
type spec struct {
	Do    string // the name of a task
	Rival string
	Setup contest.Setup

	Publishers, Batch int
	NoConsumer        bool
	For, Warmup       time.Duration
	Work              time.Duration // of the handler
	PerSecond         int           // of latency
	Events            int           // of fill, drain and store
	Settle            time.Duration // of idle: how long until nothing happens any more
}

// An outcome is what a child prints.
type outcome struct {
	contest.Throughput
	Latency contest.Latency
	Raw     contest.Latency // of lone: that of go-redis
	Peak    int64           // bytes of resident memory
	Tenths  []float64       // of drain: events/s
	Cores   float64         // of idle: cores in use, of client and server together
	Conns   int             // of idle
}

// perform does what arg says, and writes the outcome.
func perform(ctx context.Context, arg string, w io.Writer) error {
	var s spec
	if err := json.Unmarshal([]byte(arg), &s); err != nil {
		return err
	}
	task, ok := tasks[s.Do]
	if !ok {
		return fmt.Errorf("no task %q", s.Do)
	}
	stop, err := profile()
	if err != nil {
		return err
	}
	out, err := task(ctx, s)
	stop()
	if err != nil {
		return fmt.Errorf("%s of %s: %w", s.Do, s.Rival, err)
	}
	out.Peak = contest.PeakMemory()
	return json.NewEncoder(w).Encode(out)
}

// profile writes a CPU profile to where TYPEDBUS_BENCH_PROFILE says, for who wants to know where the time goes.
func profile() (stop func(), err error) {
	path := os.Getenv("TYPEDBUS_BENCH_PROFILE")
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return pprof.StopCPUProfile, pprof.StartCPUProfile(f)
}

// running is a task under way.
type running interface {
	wait() (outcome, error)
	kill() error // nil unless the task had ended by itself, which is a failure
}

// A child is this program, started again for a spec.
type child struct {
	spec
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

func startChild(ctx context.Context, s spec) (running, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	arg, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	c := &child{spec: s, cmd: exec.CommandContext(ctx, self, "-child", string(arg))}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) } // it says what it waits for
	c.cmd.WaitDelay = 3 * time.Second                                            // or is killed
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	return c, c.cmd.Start()
}

func (c *child) wait() (out outcome, err error) {
	if err := c.cmd.Wait(); err != nil {
		return out, fmt.Errorf("%s of %s: %w: %.2000s", c.Do, c.Rival, err, c.stderr.Bytes())
	}
	return out, json.Unmarshal(c.stdout.Bytes(), &out)
}

func (c *child) kill() error {
	_ = c.cmd.Process.Kill()
	_, err := c.wait()
	if state, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && state.Signaled() {
		return nil
	}
	return err
}
