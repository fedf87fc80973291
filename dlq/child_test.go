package dlq_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/internal/childtest"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// children are what a child process of the test binary can be, by their name. They get the URL of a Redis and
// report on standard output, a line each.
var children = map[string]func(ctx context.Context, tr *redisstream.Transport) error{
	"consume": func(ctx context.Context, tr *redisstream.Transport) error { return consuming(tr).Run(ctx) },
	"replay": func(ctx context.Context, tr *redisstream.Transport) error {
		_, err := queue(tr).Replay(ctx, dlq.Filter{All: true}, dlq.ReplayOptions{Rate: 2000, Burst: 10})
		return err
	},
	"import": func(ctx context.Context, tr *redisstream.Transport) error {
		f, err := os.Open(os.Getenv("TYPEDBUS_FILE"))
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = queue(tr).Import(ctx, f)
		return err
	},
}

func runChild(run func(context.Context, *redisstream.Transport) error, url string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	tr, err := redisstream.Open(ctx, url, redisstream.Options{})
	if err == nil {
		defer tr.Close()
		err = run(ctx, tr)
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("ended")
}

// A child is a process of the test binary.
type child struct{ *childtest.Process }

func start(t *testing.T, name, url string, env ...string) child {
	t.Helper()
	return child{childtest.Start(t, name, append(env, "TYPEDBUS_URL="+url)...)}
}

// gone returns the last line of the process when it has ended, "" after a while.
func (c child) gone() <-chan string {
	gone := make(chan string, 1)
	go func() {
		last := ""
		for timeout := time.After(patience); ; {
			select {
			case line, ok := <-c.Lines:
				if !ok {
					gone <- last
					return
				}
				last = line
			case <-timeout:
				gone <- "still running, and last it said: " + last
				return
			}
		}
	}()
	return gone
}

// consuming is a group that does with an event what its ID says.
func consuming(tr *redisstream.Transport) *bus.Bus {
	crashes, err := strconv.Atoi(os.Getenv("TYPEDBUS_CRASHES"))
	if err != nil {
		crashes = 100 // so that no event dies of the kills of others
	}
	b := bus.New(tr, quiet, bus.Use(dlq.Route(dlq.RouteOptions{MaxAttempts: 2, MaxCrashes: crashes})))
	orders.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
		switch e.Payload.ID {
		case "fails":
			return errCard
		case "permanent":
			return bus.Permanent(errCard)
		case "deadly":
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}, bus.Lease(300*time.Millisecond), quickly, bus.Concurrency(4))
	return b
}
