package chaos

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/chaos/check"
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
		if t.Run(row.id, func(t *testing.T) { runRow(t, row, &done) }); t.Failed() {
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
	dir, err := os.MkdirTemp("", "chaos-"+row.id+"-")
	require.NoError(t, err)
	r := &run{T: t, row: row, rand: rand.New(rand.NewPCG(*seed, hash(row.id))), n: row.load(), dir: dir}
	began := time.Now()
	var found check.Report
	defer func() {
		*done = append(*done, r.line(found, time.Since(began)))
		r.keep()
	}()
	r.progress("%s, %d events", row.fault, r.n)
	r.begin()
	if row.nemesis != nil {
		row.nemesis(r)
	}
	r.settle()
	r.stop()
	r.look()
	promises := row.promises
	promises.Lease = int64(row.consuming.Lease)
	promises.MaxDead += row.publishing.dead(r.n)
	found = check.Check(r.history, promises, r.end)
	for _, b := range found.Breaches {
		assert.Fail(t, b.Invariant+": "+b.Text, "events: %.1000v", b.Events)
	}
	for _, measure := range row.measure {
		measure(r)
	}
	r.progress("%v", r.line(found, time.Since(began)))
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

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}
