package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/typedbus/typedbus/bench/report"
)

// A suite is a run of everything.
type suite struct {
	*server
	scale
	start   func(context.Context, spec) (running, error)
	results *report.Results
	log     io.Writer // progress
	began   time.Time
	topics  int // a topic of its own for each measurement
	only    *regexp.Regexp
}

// A scale is how long things take.
type scale struct {
	rounds  int
	unit    time.Duration // of a throughput measurement
	warmup  time.Duration
	latency time.Duration
	backlog int
	settle  time.Duration // until 1,000 subscriptions are idle
	idle    time.Duration
	sweep   time.Duration // of each point; 0: no sweeps
}

var (
	full  = scale{rounds: 5, unit: time.Second, warmup: 200 * time.Millisecond, latency: 4 * time.Second, backlog: 1_000_000, settle: 10 * time.Second, idle: 10 * time.Second, sweep: 500 * time.Millisecond}
	quick = scale{rounds: 2, unit: 500 * time.Millisecond, warmup: 150 * time.Millisecond, latency: time.Second, backlog: 200_000, settle: 5 * time.Second, idle: 4 * time.Second}
)

// A part is measured in rounds: in each, all that it compares, one after the other.
type part struct {
	name   string
	rounds int // at most
	round  func(ctx context.Context, r round) error
}

// A round collects the figures of one round of a part.
type round struct {
	*suite
	name    string
	number  int                  // from 0
	values  map[string][]float64 // of all rounds, by the name of a goal
	figures map[string][]float64
}

func (r round) ratio(name string, v float64)  { r.values[name] = append(r.values[name], v) }
func (r round) figure(name string, v float64) { r.figures[name] = append(r.figures[name], v) }

// inTurn puts what a round measures into its order: every second round begins with the last, so that nobody always has the same
// neighbour.
func (r round) inTurn(specs ...spec) []spec {
	if r.number%2 == 1 {
		slices.Reverse(specs)
	}
	return specs
}

// say shows progress.
func (r round) say(format string, args ...any) {
	fmt.Fprintf(r.log, "%4.0fs  %-18s %s\n", time.Since(r.began).Seconds(), r.name, fmt.Sprintf(format, args...))
}

// run measures a part and keeps the medians of its rounds.
func (s *suite) run(ctx context.Context, p part) error {
	if s.only != nil && !s.only.MatchString(p.name) {
		return nil
	}
	values, figures := map[string][]float64{}, map[string][]float64{}
	n := min(p.rounds, s.rounds)
	for i := range n {
		r := round{suite: s, name: fmt.Sprintf("%s %d/%d", p.name, i+1, n), number: i, values: values, figures: figures}
		if err := p.round(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	for name, vs := range values {
		s.results.Ratios[name] = median(vs)
		s.results.Spread[name] = [2]float64{slices.Min(vs), slices.Max(vs)}
	}
	for name, vs := range figures {
		s.results.Figures[name] = median(vs)
	}
	return nil
}

func median(vs []float64) float64 {
	vs = slices.Sorted(slices.Values(vs))
	if n := len(vs); n%2 == 0 {
		return (vs[n/2-1] + vs[n/2]) / 2
	}
	return vs[len(vs)/2]
}

// prepare empties the server, and gives s a topic and a directory of its own.
func (s *suite) prepare(ctx context.Context, sp spec) (spec, error) {
	if err := s.FlushAll(ctx).Err(); err != nil {
		return sp, err
	}
	s.topics++
	sp.Setup.Redis, sp.Setup.Topic = s.addr, fmt.Sprintf("bench.%d", s.topics)
	dir, err := os.MkdirTemp(s.dir, "")
	sp.Setup.Dir = dir
	return sp, err
}

// measure runs a child on an empty server.
func (s *suite) measure(ctx context.Context, sp spec) (outcome, error) {
	sp, err := s.prepare(ctx, sp)
	if err != nil {
		return outcome{}, err
	}
	defer os.RemoveAll(sp.Setup.Dir)
	return s.again(ctx, sp)
}

// again runs a child on the server as it is.
func (s *suite) again(ctx context.Context, sp spec) (outcome, error) {
	sp.Setup.Publishers = sp.Publishers
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c, err := s.start(ctx, sp)
	if err != nil {
		return outcome{}, err
	}
	out, err := c.wait()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return out, err
}
