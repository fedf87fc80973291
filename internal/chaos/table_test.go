package chaos

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/typedbus/typedbus/internal/redistest"
)

// A line is what the table says of a row.
type line struct {
	id, fault                 string
	load, faults              int
	lost, duplicates, allowed int
	p50, p99                  time.Duration // of recovering
	notes                     string
	held, late                bool
}

func (r *run) line() line {
	return line{
		id: r.id, fault: r.fault, load: r.n, faults: r.faults,
		lost: r.found.Lost, duplicates: r.found.Duplicates, allowed: r.found.Allowed,
		p50: quantile(r.recovery, 0.5), p99: quantile(r.recovery, 0.99), notes: strings.Join(r.notes, "; "), held: !r.Failed(), late: r.late,
	}
}

func (l line) String() string { return strings.Trim(l.markdown(), "| \n") }

func (l line) markdown() string {
	verdict := "held"
	switch {
	case !l.held:
		verdict = "**BROKEN**"
	case l.late:
		verdict = "held, late"
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d of %d | %s | %s | %s |\n", l.id, l.fault, l.load, l.faults,
		l.lost, l.duplicates, l.allowed, l.recovery(), l.notes, verdict)
}

func (l line) recovery() string {
	if l.p50 == 0 {
		return "–"
	}
	return fmt.Sprintf("%v / %v", l.p50.Round(time.Millisecond), l.p99.Round(time.Millisecond))
}

// tableOf leaves out rows that were not run.
func tableOf(lines []*line) string {
	var b strings.Builder
	b.WriteString("| row | fault | events | faults injected | lost | handled again, of as often as allowed | recovery p50 / p99 | also measured | verdict |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for _, l := range lines {
		if l == nil {
			continue
		}
		b.WriteString(l.markdown())
	}
	return b.String()
}

func provenance() string {
	return fmt.Sprintf("%s, tier %s, seed %d, %s, %s/%s, %d cores\n", time.Now().UTC().Format(time.DateOnly), *tier, *seed,
		strings.Join(redistest.Binary(), " "), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
}

const (
	tableFrom = "<!-- chaos:table -->"
	tableTo   = "<!-- /chaos:table -->"
)

// splice replaces what stands between the marks in a file.
func splice(path, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(old, []byte(tableFrom))
	_, tail, too := bytes.Cut(rest, []byte(tableTo))
	if !ok || !too {
		return fmt.Errorf("chaos: %s must have the line %s above the line %s", path, tableFrom, tableTo)
	}
	text = string(head) + tableFrom + "\n\n" + strings.TrimSpace(text) + "\n\n" + tableTo + string(tail)
	return os.WriteFile(path, []byte(text), 0o644)
}
