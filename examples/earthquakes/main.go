// Earthquakes sends a week of real earthquakes through four services on one bus: in memory, or with -redis on Redis.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/examples/internal/week"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
	"github.com/typedbus/typedbus/transport/redisstream"
)

func main() {
	url := flag.String("redis", "", "Redis to run on, as redis://localhost:6379; default in memory")
	path := flag.String("archive", filepath.Join(os.TempDir(), "earthquakes.jsonl"), "file for the archive of JSON lines")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *url, *path); err != nil {
		log.Fatal(err)
	}
}

// open is the only place that knows which broker it is.
func open(ctx context.Context, url string) (transport.Transport, error) {
	if url == "" {
		return memory.New(), nil
	}
	return redisstream.Open(ctx, url, redisstream.Options{})
}

func run(ctx context.Context, out io.Writer, url, path string) error {
	quakes, err := week.Quakes()
	if err != nil {
		return err
	}
	tr, err := open(ctx, url)
	if err != nil {
		return err
	}
	defer tr.Close()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()

	running, stop := context.WithCancel(ctx)
	defer stop()
	y := newTally(len(quakes), stop)
	figures := networks{by: make(map[string]*network)}

	// The pager's failures are part of the show: the log is for what is not.
	b := bus.New(tr, bus.Logger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))))
	QuakeDetected.Subscribe(b, "alerts", bus.Wrap(raiseAlerts, counted[week.Quake](y), y.raised))
	QuakeDetected.Subscribe(b, "stats", bus.Wrap(figures.add, counted[week.Quake](y)))
	QuakeDetected.Subscribe(b, "archive", bus.Wrap(bus.Batched(100, 200*time.Millisecond, archive{file}.write), counted[week.Quake](y)))
	QuakeAlert.Subscribe(b, "pager", bus.Wrap(page, counted[Alert](y)), bus.Redeliver(bus.Backoff{Min: 100 * time.Millisecond}))

	var wg sync.WaitGroup
	var publishErr error
	wg.Go(func() { y.progress(running, out) })
	wg.Go(func() {
		publishErr = QuakeDetected.PublishAll(ctx, b, quakes, bus.Header(runHeader, y.run))
		if publishErr != nil {
			stop()
		}
	})
	err = b.Run(running)
	stop()
	wg.Wait()
	if err := errors.Join(err, publishErr); err != nil {
		return err
	}
	figures.print(out)
	fmt.Fprintln(out, "archive:", path)
	return y.print(out)
}

func (n *networks) print(w io.Writer) {
	byCount := func(a, b string) int { return cmp.Compare(n.by[b].count, n.by[a].count) }
	fmt.Fprintln(w, "network  quakes  strongest  mean")
	for _, name := range slices.SortedFunc(maps.Keys(n.by), byCount) {
		x := n.by[name]
		fmt.Fprintf(w, "%-7s %7d %10.1f %5.2f\n", name, x.count, x.strongest, x.sum/float64(x.count))
	}
}
