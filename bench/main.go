// Command bench measures typedbus against what people would pick instead, all in one run and in turn, and writes what it found.
//
//	make bench          # everything, under 6 minutes on two cores; writes results.json, charts, and the tables of docs/performance.md
//	make bench-quick    # a look, under 90 seconds; writes results-quick.json
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/typedbus/typedbus/bench/report"
	"github.com/typedbus/typedbus/bench/rivals"
)

func main() {
	child := flag.String("child", "", "what a child process is to do, as JSON; for the program itself")
	short := flag.Bool("quick", false, "fewer and shorter rounds, no sweeps")
	only := flag.String("only", "", "measure only the parts whose names match this expression, and write nothing")
	out := flag.String("out", "", "where the results go; default results.json, or results-quick.json")
	docs := flag.String("docs", "", "the directory of performance.md, whose tables and charts are renewed; none if empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	err := error(nil)
	if *child != "" {
		err = perform(ctx, *child, os.Stdout)
	} else {
		file := "results.json"
		if *short {
			file = "results-quick.json"
		}
		err = runAll(ctx, *short, *only, cmp.Or(*out, file), *docs)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func runAll(ctx context.Context, short bool, only, out, docs string) error {
	server, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer server.stop()
	s := &suite{server: server, scale: full, start: startChild, log: os.Stderr, began: time.Now(), results: &report.Results{
		Ratios: map[string]float64{}, Figures: map[string]float64{}, Spread: map[string][2]float64{}, Machine: machine(ctx, server),
	}}
	if short {
		s.scale = quick
	}
	if only != "" {
		if s.only, err = regexp.Compile(only); err != nil {
			return err
		}
	}
	if docs != "" && only == "" {
		if _, err := os.Stat(filepath.Join(docs, "performance.md")); err != nil {
			return err // now, and not after six minutes
		}
	}
	if err := s.runParts(ctx); err != nil {
		return err
	}
	m := &s.results.Machine
	m.Seconds, m.Rounds, m.Quick = int(time.Since(s.began).Seconds()), s.rounds, short
	return s.publish(out, docs)
}

func (s *suite) runParts(ctx context.Context) error {
	for _, p := range []part{
		{"end to end", 5, endToEnd},
		{"publish", 5, publishing},
		{"latency", 5, latencies},
		{"memory", 5, inMemory},
		{"stored", 1, stored},
		{"backlog", 3, backlog},
		{"pending", 5, pending},
		{"consumers", 5, consumers},
		{"idle", 1, idleness},
	} {
		if err := s.run(ctx, p); err != nil {
			return err
		}
	}
	if s.sweep == 0 {
		return nil
	}
	for _, sw := range s.sweeps() {
		if err := s.runSweep(ctx, sw); err != nil {
			return fmt.Errorf("%s: %w", sw.Name, err)
		}
	}
	return nil
}

// publish shows the results, writes them, and renews the document.
func (s *suite) publish(out, docs string) error {
	report.Table(os.Stdout, goals, s.results)
	if s.only != nil {
		return s.partly()
	}
	if err := s.results.Write(out); err != nil {
		return err
	}
	fmt.Println("written:", out)
	if docs == "" {
		return nil
	}
	charts := filepath.Join(docs, "charts")
	if err := os.MkdirAll(charts, 0o755); err != nil {
		return err
	}
	return errors.Join(s.renew(filepath.Join(docs, "performance.md")), report.Charts(charts, s.results))
}

// partly is the end of a run that -only has cut: what it has measured would leave holes in what a whole run has written.
func (s *suite) partly() error {
	if len(s.results.Ratios)+len(s.results.Sweeps) == 0 {
		return fmt.Errorf("-only %s: no part has such a name (and -quick has no sweeps)", s.only)
	}
	fmt.Println("written: nothing, because -only left parts out")
	return nil
}

// renew puts the tables of this run into the document.
func (s *suite) renew(doc string) error {
	var table, how bytes.Buffer
	report.Markdown(&table, goals, s.results)
	fmt.Fprint(&how, "| rival | set up as |\n|---|---|\n")
	for _, r := range rivals.All() {
		fmt.Fprintf(&how, "| %s | %s |\n", r.Name, r.How)
	}
	return errors.Join(report.Splice(doc, "table", table.Bytes()), report.Splice(doc, "rivals", how.Bytes()))
}

func machine(ctx context.Context, s *server) report.Machine {
	return report.Machine{
		CPU: processor(), Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: strings.TrimPrefix(runtime.Version(), "go"),
		Redis: s.version(ctx), Date: time.Now().Format(time.DateOnly),
	}
}

// processor is the name of the processor, as Linux tells it.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}
