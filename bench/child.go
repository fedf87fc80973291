package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/bench/contest"
	"github.com/typedbus/typedbus/bench/rivals"
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
	Work              time.Duration
	PerSecond         int // of latency
	Events            int // of backlog and consume
}

// An outcome is what a child prints.
type outcome struct {
	contest.Throughput
	Latency contest.Latency
	Peak    int64     // bytes of resident memory
	Rates   []float64 // of backlog: events/s, tenth by tenth
	Raw     contest.Latency
}

// tasks are what a child can do.
var tasks = map[string]func(context.Context, spec) (outcome, error){
	"throughput": throughput,
	"latency":    latency,
}

func runChild(ctx context.Context, arg string) error {
	var s spec
	if err := json.Unmarshal([]byte(arg), &s); err != nil {
		return err
	}
	task, ok := tasks[s.Do]
	if !ok {
		return fmt.Errorf("no task %q", s.Do)
	}
	if path := os.Getenv("TYPEDBUS_BENCH_PROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	out, err := task(ctx, s)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", s.Do, s.Rival, err)
	}
	out.Peak = contest.PeakMemory()
	return json.NewEncoder(os.Stdout).Encode(out)
}

// startChild starts this program again for s. The outcome is what wait returns.
func startChild(ctx context.Context, s spec) (wait func() (outcome, error), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	arg, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-child", string(arg))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() (out outcome, err error) {
		if err := cmd.Wait(); err != nil {
			return out, fmt.Errorf("%s of %s: %w: %.2000s", s.Do, s.Rival, err, stderr.Bytes())
		}
		return out, json.Unmarshal(stdout.Bytes(), &out)
	}, nil
}

func open(ctx context.Context, s spec) (contest.Session, error) {
	r, ok := rivals.Named(s.Rival)
	if !ok {
		return nil, fmt.Errorf("no rival %q", s.Rival)
	}
	return r.Open(ctx, s.Setup)
}

func throughput(ctx context.Context, s spec) (out outcome, err error) {
	session, err := open(ctx, s)
	if err != nil {
		return out, err
	}
	watch := redis.NewClient(&redis.Options{Addr: s.Setup.Redis})
	defer watch.Close()
	out.Throughput, err = contest.MeasureThroughput(ctx, session, contest.Load{
		Publishers: s.Publishers, Batch: s.Batch, NoConsumer: s.NoConsumer, For: s.For, Warmup: s.Warmup, Work: s.Work,
		ServerCPU: func(ctx context.Context) (time.Duration, error) { return serverCPU(ctx, watch) },
	})
	if err != nil {
		return out, err
	}
	return out, session.Close()
}

func latency(ctx context.Context, s spec) (out outcome, err error) {
	session, err := open(ctx, s)
	if err != nil {
		return out, err
	}
	if out.Latency, err = contest.MeasureLatency(ctx, session, s.PerSecond, s.For); err != nil {
		return out, err
	}
	return out, session.Close()
}
