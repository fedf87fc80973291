package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	tier     = flag.String("tier", "", "the loads of TestChaos: quick, full or soak; without it TestChaos is skipped")
	seed     = flag.Uint64("seed", 0, "of all that is random; 0 for a random one")
	report   = flag.String("report", "", "the Markdown file whose table is renewed")
	servers  = flag.String("servers", "", "the Markdown file in whose table of servers the line of this one is renewed")
	suite    = flag.String("suite", "", "what that line says of the tests")
	duration = flag.Duration("duration", time.Hour, "of the tier soak")
	only     = flag.String("rows", "", "run these rows only, as G1,G2")
)

func TestChaos(t *testing.T) {
	if *tier == "" {
		t.Skip("run `make chaos`")
	}
	if *seed == 0 {
		*seed = rand.Uint64N(1_000_000)
	}
	fmt.Printf("seed %d, tier %s\n", *seed, *tier)
	lines := make([]*line, len(rows))
	t.Run("rows", func(t *testing.T) {
		for i, row := range wanted(t) {
			t.Run(row.id, func(t *testing.T) {
				if !row.alone {
					t.Parallel()
				}
				runRow(t, row, &lines[i])
			})
		}
	})
	table := tableOf(lines)
	fmt.Printf("\n%s\nseed %d\n", table, *seed)
	if *report != "" && *only == "" {
		require.NoError(t, sectionOf(*tier).replace(*report, table+"\n"+provenance()))
	}
	if *servers != "" {
		head, text := serverLine(*suite, lines)
		require.NoError(t, noteServer(*servers, head, text))
	}
}

// wanted are the rows to run, those that run alone first: the others wait for them.
func wanted(t *testing.T) []row {
	if *tier == "soak" {
		return []row{soak}
	}
	if *only == "" {
		return rows
	}
	var some []row
	for _, id := range strings.Split(*only, ",") {
		i := slices.IndexFunc(rows, func(r row) bool { return r.id == id })
		require.GreaterOrEqual(t, i, 0, "there is a row %s", id)
		some = append(some, rows[i])
	}
	return some
}

// runRow makes a line of the table, whatever happens.
func runRow(t *testing.T, row row, to **line) {
	r := newRun(t, row, row.load())
	defer func() {
		l := r.line()
		*to = &l
		r.keep()
		if t.Failed() {
			r.progress("again: go test -race ./internal/chaos -run '^TestChaos$' -v -timeout 0 -args -tier=%s -seed=%d -rows=%s -duration=%v",
				*tier, *seed, row.id, *duration)
		}
	}()
	r.progress("%s; %d events", row.fault, r.n)
	r.play()
	for _, b := range r.found.Breaches {
		assert.Fail(t, b.Invariant+": "+b.Text, "events: %.1000v", b.Events)
	}
	for _, measure := range row.measure {
		measure(r)
	}
	r.progress("%v", r.line())
}

func (r row) load() int {
	if r.id == soak.id {
		return r.publishing.Rate * int(duration.Seconds())
	}
	if *tier == "full" {
		return r.full
	}
	return r.quick
}
