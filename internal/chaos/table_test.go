package chaos

import (
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
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d of %d | %s | %s | %s |\n", l.id, l.fault, l.load, l.faults,
		l.lost, l.duplicates, l.allowed, l.recovery(), l.notes, l.verdict())
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
		redistest.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
}

// sectionOf is where the table of a tier stands.
func sectionOf(tier string) section {
	if tier == "full" {
		return fullTable
	}
	return quickTable
}

// verdict is short, for a table of many rows.
func (l line) verdict() string {
	switch {
	case !l.held:
		return "**BROKEN**"
	case l.late:
		return "held, late"
	}
	return "held"
}

// A section is what stands in a file between two marks, and is written by a run.
type section string

const (
	quickTable  section = "chaos:table"
	fullTable   section = "chaos-full:table"
	serverTable section = "servers:table"
)

func (s section) marks() (from, to string) {
	return "<!-- " + string(s) + " -->", "<!-- /" + string(s) + " -->"
}

// cut returns the contents of a file before the section, in it and behind it.
func (s section) cut(path string) (head, text, tail string, err error) {
	all, err := os.ReadFile(path)
	if err != nil {
		return "", "", "", err
	}
	from, to := s.marks()
	head, rest, ok := strings.Cut(string(all), from)
	text, tail, too := strings.Cut(rest, to)
	if !ok || !too {
		return "", "", "", fmt.Errorf("chaos: %s must have the line %s above the line %s", path, from, to)
	}
	return head, strings.TrimSpace(text), tail, nil
}

// replace puts text in the place of the section's.
func (s section) replace(path, text string) error {
	head, _, tail, err := s.cut(path)
	if err != nil {
		return err
	}
	from, to := s.marks()
	return os.WriteFile(path, []byte(head+from+"\n\n"+strings.TrimSpace(text)+"\n\n"+to+tail), 0o644)
}
