package main

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bench/contest"
	"github.com/typedbus/typedbus/bench/report"
)

// told is a child that has measured what it was told.
type told struct {
	running
	out outcome
}

func (t told) wait() (outcome, error) { return t.out, nil }

// TestRatiosStandTheRightWayUp has everything of ours twice as good as that of others.
func TestRatiosStandTheRightWayUp(t *testing.T) {
	server, err := startServer(t.Context())
	require.NoError(t, err)
	defer server.stop()
	s := newSuite()
	s.server, s.scale.rounds = server, 1
	s.start = func(_ context.Context, sp spec) (running, error) {
		good := 1.0
		switch {
		case sp.Rival == "typedbus-standard" || sp.Rival == "typedbus-telemetry":
			good = 1.5
		case strings.HasPrefix(sp.Rival, "typedbus"):
			good = 2
		}
		l := contest.Latency{P50: 10 / good, P99: 100 / good}
		return told{out: outcome{Throughput: contest.Throughput{PerSecond: 1000 * good, ServerCPU: 4 / good}, Latency: l, Raw: contest.Latency{P50: 10}}}, nil
	}
	for _, round := range []part{{"e", 1, endToEnd}, {"p", 1, publishing}, {"l", 1, latencies}, {"m", 1, inMemory}} {
		require.NoError(t, s.run(t.Context(), round))
	}
	delete(s.results.Ratios, "allocs_over_raw")
	for name, v := range s.results.Ratios {
		want := 2.0
		switch {
		case strings.HasSuffix(name, "_vs_bare"):
			want = 0.75
		case slices.ContainsFunc(goals, func(g report.Goal) bool { return g.Name == name && g.AtMost > 0 }):
			want = 0.5
		}
		assert.InDelta(t, want, v, 1e-9, name)
	}
}
