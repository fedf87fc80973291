// Observability is a shop of three services, each a process of its own, whose orders can be followed through all of them in any
// backend of OpenTelemetry:
//
//	orders --orders.placed--> billing --invoices.issued--> shipping --parcels.sent--> orders
//
// Started without a service it runs all three. README.md says how to look at them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// settings are the command line.
type settings struct {
	redis string
	n     int
	every time.Duration
}

func main() {
	var s settings
	flag.StringVar(&s.redis, "redis", "redis://localhost:6379", "Redis to run on")
	flag.IntVar(&s.n, "n", 0, "end after so many orders; 0: go on until Ctrl-C")
	flag.DurationVar(&s.every, "every", 500*time.Millisecond, "time between two orders")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: observability [flags] [orders | billing | shipping]")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s, flag.Arg(0)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, s settings, name string) error {
	if name == "" {
		return runAll(ctx, s)
	}
	declare, ok := services[name]
	if !ok {
		return fmt.Errorf("no service %q: there are orders, billing and shipping", name)
	}
	return serve(ctx, s, name, declare)
}

// runAll runs the three services as processes, and ends them when orders has ended.
func runAll(ctx context.Context, s settings) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for i, name := range []string{"orders", "billing", "shipping"} {
		cmd := exec.CommandContext(ctx, self, "-redis", s.redis, "-n", strconv.Itoa(s.n), "-every", s.every.String(), name)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), "OTEL_EXPORTER_PROMETHEUS_PORT="+strconv.Itoa(prometheusPort()+i)) // a port each
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 30 * time.Second
		wg.Go(func() {
			defer stop()
			if err := cmd.Run(); err != nil && !errors.Is(err, context.Canceled) {
				errs[i] = fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// newLogger has every record of a handler say which trace it belongs to.
func newLogger(service string) *slog.Logger {
	return slog.New(traced{slog.NewTextHandler(os.Stderr, nil)}).With("service", service)
}
