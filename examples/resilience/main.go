// Resilience pages somebody for each earthquake of a week, through a pager service that fails, is down, is slow and refuses,
// and with some events that are poison. At the end each event was handled once, or is in the dead letters; those are repaired
// and replayed until none is left. In memory, or with -redis on Redis.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
	"github.com/typedbus/typedbus/transport/redisstream"
)

func main() {
	url := flag.String("redis", "", "Redis to run on, as redis://localhost:6379; default in memory")
	seed := flag.Uint64("seed", 1, "of the pager's dice")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *url, *seed); err != nil {
		log.Fatal(err)
	}
}

// open is the only place that knows which broker it is. Redis keeps the claims of Idempotent beside the events.
func open(ctx context.Context, url string) (transport.Transport, middleware.Claims, error) {
	if url == "" {
		return memory.New(), middleware.NewMemoryClaims(), nil
	}
	tr, err := redisstream.Open(ctx, url, redisstream.Options{})
	return tr, tr, err
}

const group = "pagers"

func run(ctx context.Context, out io.Writer, url string, seed uint64) error {
	tr, claims, err := open(ctx, url)
	if err != nil {
		return err
	}
	defer tr.Close()
	service, err := startPager(seed)
	if err != nil {
		return err
	}
	defer service.Close()
	s := newShow(out)
	b := bus.New(tr, bus.Logger(slog.New(slog.DiscardHandler))) // its warnings are the show, see show.go
	client := &http.Client{}
	defer client.CloseIdleConnections()
	p := &pager{url: service.url, client: client}
	QuakeReported.Subscribe(b, group, bus.Wrap(p.page, s.counted, middleware.Validate[Page]()),
		bus.Use(s.observe), s.chain(claims), bus.Redeliver(bus.Backoff{Min: 200 * time.Millisecond, Max: time.Second}))
	fmt.Fprintln(out, b.Explain())

	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var runErr error
	wg.Go(func() { defer stop(); runErr = b.Run(running) })
	err = s.play(running, b, dlq.NewQueue(tr, QuakeReported.Name(), group, dlq.QueueOptions{Who: "resilience"}))
	stop()
	wg.Wait()
	if err := errors.Join(runErr, err, ctx.Err()); err != nil {
		return err
	}
	return s.print(service)
}

// play publishes, waits until all is handled or dead, repairs what is dead, and replays it.
func (s *show) play(ctx context.Context, b *bus.Bus, q *dlq.Queue) (err error) {
	if s.Published, s.Repeated, err = publishWeek(ctx, b, s.run); err != nil {
		return err
	}
	if s.Poison, err = publishPoison(ctx, b, s.run); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "published %d events, %d of them twice, and %d poison\n", s.Published, s.Repeated, s.Poison)
	if err := s.await(ctx, b, q, s.Poison); err != nil {
		return err
	}
	s.Letters = s.Left
	fmt.Fprintf(s.out, "\n%d events were handled, %d are dead letters:\n", s.handledEvents(), s.Letters)
	if err := s.listLetters(ctx, q); err != nil {
		return err
	}
	if err := s.repair(ctx, q); err != nil {
		return err
	}
	report, err := q.Replay(ctx, s.mine(), dlq.ReplayOptions{Rate: 100})
	if err != nil {
		return err
	}
	s.Replayed = report.Done
	fmt.Fprintf(s.out, "repaired and replayed %d letters\n", report.Done)
	return s.await(ctx, b, q, 0)
}

// mine are the letters of this run.
func (s *show) mine() dlq.Filter { return dlq.Filter{Text: s.run} }

// listLetters shows what a person looks at first: what there is, and why.
func (s *show) listLetters(ctx context.Context, q *dlq.Queue) error {
	groups, err := q.Groups(ctx, s.mine())
	for _, g := range groups {
		fmt.Fprintf(s.out, "  %2d  %-12s  %s\n", g.Count, g.Reason, g.Fingerprint)
	}
	return err
}

// repair does what a person would do about each letter.
func (s *show) repair(ctx context.Context, q *dlq.Queue) error {
	for l, err := range q.All(ctx, s.mine()) {
		if err != nil {
			return err
		}
		p, err := repairOf(l)
		if err != nil {
			return err
		}
		if p.mend != nil {
			_, err = q.Edit(ctx, l.LetterID, func(m *bus.Message) error { m.Body = p.mend(m.Body); return nil })
		} else {
			_, err = dlq.EditAs(ctx, q, QuakeReported, l.LetterID, func(page *Page) error { p.repair(page); return nil })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// await waits until so many letters are left, everything else was handled, and nothing is on its way.
func (s *show) await(ctx context.Context, b *bus.Bus, q *dlq.Queue, letters int) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := s.settled(ctx, b, q, letters)
		if done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *show) settled(ctx context.Context, b *bus.Bus, q *dlq.Queue, letters int) (bool, error) {
	stats, err := b.Stats(ctx)
	if err != nil {
		return false, err
	}
	report, err := q.Replay(ctx, s.mine(), dlq.ReplayOptions{DryRun: true})
	if err != nil {
		return false, err
	}
	s.progress(report.Matched)
	lag := stats.Subscriptions[0].Lag
	return lag.Undelivered+lag.Pending+lag.Waiting == 0 && report.Matched == letters &&
		s.handledEvents()+letters == s.Published+s.Poison, nil
}

// print ends the show with one line of JSON.
func (s *show) print(service *pagerService) error {
	s.Pager, s.Paged, s.ElapsedMS = service.counts(), service.paged(), time.Since(s.begin).Milliseconds()
	s.Handled = s.handledEvents()
	s.summary()
	return json.NewEncoder(s.out).Encode(s.result)
}
