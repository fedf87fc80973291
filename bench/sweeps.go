package main

import (
	"context"
	"time"

	"github.com/typedbus/typedbus/bench/report"
)

// A sweep changes one thing and keeps the rest.
type sweep struct {
	report.Sweep
	lines  []string // rivals
	points []float64
	labels []string // instead of points, one for each line
	spec   func(rival string, x float64) spec
}

func (s *suite) sweeps() []sweep {
	const perSecond = "events/s, end to end"
	load := func(rival string, publishers int) spec {
		return spec{Do: "throughput", Rival: rival, Publishers: publishers, For: s.sweep, Warmup: s.warmup}
	}
	return []sweep{
		{
			Sweep:  report.Sweep{Name: "payload", Title: "Size of the body", XName: "bytes", YName: perSecond, LogX: true},
			lines:  []string{"typedbus-bytes", "raw-single"},
			points: []float64{100, 1000, 10_000, 100_000, 1_000_000},
			spec: func(rival string, x float64) spec {
				sp := load(rival, 64)
				sp.Setup.Body = int(x)
				return sp
			},
		},
		{
			Sweep:  report.Sweep{Name: "topics", Title: "Topics in one process", XName: "topics", YName: perSecond, LogX: true},
			lines:  []string{"typedbus"},
			points: []float64{1, 10, 100, 1000},
			spec: func(rival string, x float64) spec {
				sp := load(rival, 64)
				sp.Setup.Topics = int(x)
				return sp
			},
		},
		{
			Sweep:  report.Sweep{Name: "publishers", Title: "Goroutines that publish one by one", XName: "publishers", YName: perSecond, LogX: true},
			lines:  []string{"typedbus", "raw-single"},
			points: []float64{1, 4, 16, 64, 256},
			spec:   func(rival string, x float64) spec { return load(rival, int(x)) },
		},
		{
			Sweep:  report.Sweep{Name: "concurrency", Title: "Concurrency, with a handler of 1 ms", XName: "concurrency", YName: perSecond, LogX: true},
			lines:  []string{"typedbus"},
			points: []float64{1, 4, 16, 64, 256},
			spec: func(rival string, x float64) spec {
				sp := load(rival, 64)
				sp.Work, sp.Setup.Concurrency = time.Millisecond, int(x)
				sp.Warmup = 0 // a backlog of it would take seconds to drain
				return sp
			},
		},
		{
			Sweep:  report.Sweep{Name: "codecs", Title: "Codecs", YName: perSecond},
			labels: []string{"JSON", "msgpack", "protobuf"},
			lines:  []string{"typedbus", "typedbus-msgpack", "typedbus-protobuf"},
			spec:   func(rival string, _ float64) spec { return load(rival, 64) },
		},
	}
}

// runSweep measures every point once.
func (s *suite) runSweep(ctx context.Context, sw sweep) error {
	if s.only != nil && !s.only.MatchString(sw.Name) {
		return nil
	}
	r := round{suite: s, name: sw.Name}
	if sw.labels != nil {
		return s.sweepLabels(ctx, r, sw)
	}
	for _, rival := range sw.lines {
		line := report.Line{Name: rival}
		for _, x := range sw.points {
			o, err := s.measure(ctx, sw.spec(rival, x))
			if err != nil {
				return err
			}
			r.say("%-16s %8.0f: %8.0f events/s", rival, x, o.PerSecond)
			line.Points = append(line.Points, report.Point{X: x, Y: o.PerSecond})
		}
		sw.Lines = append(sw.Lines, line)
	}
	s.results.Sweeps = append(s.results.Sweeps, sw.Sweep)
	return nil
}

func (s *suite) sweepLabels(ctx context.Context, r round, sw sweep) error {
	line := report.Line{Name: "typedbus"}
	for i, rival := range sw.lines {
		o, err := s.measure(ctx, sw.spec(rival, 0))
		if err != nil {
			return err
		}
		r.say("%-16s %8.0f events/s", sw.labels[i], o.PerSecond)
		line.Points = append(line.Points, report.Point{X: float64(i), Y: o.PerSecond, Label: sw.labels[i]})
	}
	sw.Lines = []report.Line{line}
	s.results.Sweeps = append(s.results.Sweeps, sw.Sweep)
	return nil
}
