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
	var done []line
	rows := rows
	if *tier == "soak" {
		rows = []row{soak}
	}
	for _, row := range rows {
		if wanted := strings.Split(*only, ","); *only != "" && !slices.Contains(wanted, row.id) {
			continue
		}
		if !t.Run(row.id, func(t *testing.T) { runRow(t, row, &done) }) {
			fmt.Printf("again: go test -race ./internal/chaos -run '^TestChaos$' -v -timeout 0 -args -tier=%s -seed=%d -rows=%s -duration=%v\n",
				*tier, *seed, row.id, *duration)
		}
	}
	table := tableOf(done)
	fmt.Printf("\n%s\nseed %d\n", table, *seed)
	if *report != "" && *only == "" {
		require.NoError(t, splice(*report, table+"\n"+provenance()))
	}
}

// runRow adds a line to the table, whatever happens.
func runRow(t *testing.T, row row, done *[]line) {
	r := newRun(t, row, row.load())
	defer func() {
		*done = append(*done, r.line())
		r.keep()
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
