package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bench/contest"
	"github.com/typedbus/typedbus/bench/report"
	"github.com/typedbus/typedbus/bench/rivals"
)

func newSuite() *suite {
	return &suite{scale: scale{rounds: 3}, began: time.Now(), log: &bytes.Buffer{}, results: &report.Results{
		Ratios: map[string]float64{}, Figures: map[string]float64{}, Spread: map[string][2]float64{},
	}}
}

func TestMediansOfRounds(t *testing.T) {
	s, i := newSuite(), 0
	err := s.run(t.Context(), part{"speed", 5, func(_ context.Context, r round) error {
		i++
		r.ratio("ratio", []float64{5, 1, 3}[i-1])
		r.figure("figure", float64(i))
		return nil
	}})
	require.NoError(t, err)
	assert.Equal(t, 3, i, "no more rounds than the run has")
	assert.Equal(t, map[string]float64{"ratio": 3}, s.results.Ratios)
	assert.Equal(t, map[string][2]float64{"ratio": {1, 5}}, s.results.Spread)
	assert.Equal(t, map[string]float64{"figure": 2}, s.results.Figures)
	assert.Equal(t, 2.5, median([]float64{4, 1, 2, 3}))

	err = s.run(t.Context(), part{"broken", 1, func(context.Context, round) error { return assert.AnError }})
	assert.ErrorContains(t, err, "broken 1/1: ")
}

func TestAPartOfARunLeavesTheFilesOfAWholeOne(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, os.WriteFile(out, []byte("whole"), 0o600))
	s := newSuite()
	s.only = regexp.MustCompile("speed")
	assert.ErrorContains(t, s.publish(out, ""), "no part has such a name")
	require.NoError(t, s.run(t.Context(), part{"speed", 1, func(_ context.Context, r round) error { r.ratio("ratio", 1); return nil }}))
	require.NoError(t, s.publish(out, filepath.Join(t.TempDir(), "none")))
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, "whole", string(text))
}

func TestEveryGoalHasANameOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range goals {
		assert.False(t, seen[g.Name], g.Name)
		seen[g.Name] = true
		assert.False(t, g.AtLeast > 0 && g.AtMost > 0, "%s has one bar", g.Name)
		assert.NotEmpty(t, g.What)
	}
}

func TestSweepsNameRivals(t *testing.T) {
	for _, sw := range newSuite().sweeps() {
		for _, rival := range sw.lines {
			_, known := rivals.Named(rival)
			assert.True(t, known, "%s of %s", rival, sw.Name)
		}
	}
}

// TestASmallRunMeasuresEveryGoal runs all parts with rounds that are too short to mean anything, in this process and in children.
func TestASmallRunMeasuresEveryGoal(t *testing.T) {
	server, err := startServer(t.Context())
	require.NoError(t, err)
	defer server.stop()
	s := newSuite()
	s.server = server
	s.scale = scale{rounds: 1, unit: 30 * time.Millisecond, latency: 50 * time.Millisecond, backlog: 2000, settle: time.Millisecond, idle: 10 * time.Millisecond, sweep: 10 * time.Millisecond}
	s.start = inThisProcess
	require.NoError(t, s.runParts(t.Context()))
	for _, g := range goals {
		assert.Contains(t, s.results.Ratios, g.Name)
	}
	assert.Len(t, s.results.Sweeps, len(s.sweeps()))
	var table strings.Builder
	report.Table(&table, goals, s.results)
	assert.NotContains(t, table.String(), "not measured")
}

// inThisProcess does what a child would, so that the race detector sees it and nothing is built twice.
func inThisProcess(ctx context.Context, s spec) (running, error) {
	ctx, cancel := context.WithCancel(ctx)
	i := &inside{cancel: cancel, done: make(chan struct{})}
	arg, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(i.done)
		i.err = perform(ctx, string(arg), &i.stdout)
	}()
	return i, nil
}

type inside struct {
	cancel context.CancelFunc
	done   chan struct{}
	stdout bytes.Buffer
	err    error
}

func (i *inside) wait() (out outcome, err error) {
	<-i.done
	if i.err != nil {
		return out, i.err
	}
	return out, json.Unmarshal(i.stdout.Bytes(), &out)
}

func (i *inside) kill() error { i.cancel(); <-i.done; return i.err }

func TestAChildSaysWhatIsWrong(t *testing.T) {
	for arg, want := range map[string]string{
		`{`:                                    "unexpected end",
		`{"Do":"nothing"}`:                     `no task "nothing"`,
		`{"Do":"throughput","Rival":"nobody"}`: `no rival "nobody"`,
		`{"Do":"latency","Rival":"typedbus","Setup":{"Redis":"127.0.0.1:1"}}`: "cannot reach Redis",
	} {
		assert.ErrorContains(t, perform(t.Context(), arg, &bytes.Buffer{}), want)
	}
}

func TestEventsAreSmallAndDiffer(t *testing.T) {
	a, b := contest.Encoded(contest.NewEvent(1)), contest.Encoded(contest.NewEvent(2))
	assert.NotEqual(t, a, b)
	assert.InDelta(t, 150, len(a), 15, fmt.Sprint(string(a)))
}
