package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// mainFigures are those a newcomer looks for; the others are in results.json.
var mainFigures = []struct{ name, heading string }{
	{endToEnd, "events/s, end to end"},
	{latencyP50, "latency p50, µs"},
	{latencyP99, "latency p99, µs"},
}

const (
	endToEnd   = "e2e_per_second"
	latencyP50 = "latency_p50_us"
	latencyP99 = "latency_p99_us"
)

// Table prints goals and the main figures for a terminal.
func Table(w io.Writer, goals []Goal, r *Results) {
	for _, rows := range [][][]string{goalRows(goals, r), figureRows(r)} {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, row := range rows {
			fmt.Fprintln(t, strings.Join(row, "\t"))
		}
		t.Flush()
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, r.caption())
}

// Markdown prints what [Table] does, for docs/performance.md.
func Markdown(w io.Writer, goals []Goal, r *Results) {
	for _, rows := range [][][]string{goalRows(goals, r), figureRows(r)} {
		for i, row := range rows {
			for _, cell := range row {
				fmt.Fprintf(w, "| %s ", strings.ReplaceAll(cell, "|", `\|`))
			}
			fmt.Fprintln(w, "|")
			if i == 0 {
				fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(row)))
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, r.caption())
}

// goalRows has a heading, and a row for each goal.
func goalRows(goals []Goal, r *Results) [][]string {
	rows := [][]string{{"name", "what", "goal", "measured", "lowest to highest round", "verdict"}}
	for _, g := range goals {
		row := []string{g.Name, g.What, g.bar(), "–", "–", "not measured"}
		if v, ok := r.Ratios[g.Name]; ok {
			// As in the file and as printed: nobody is to read 10, >= 10 and missed.
			v = rounded(v, digits)
			row[3], row[5] = number(v, digits), g.verdict(v)
		}
		if s, ok := r.Spread[g.Name]; ok {
			row[4] = number(s[0], digits) + " to " + number(s[1], digits)
		}
		rows = append(rows, row)
	}
	return rows
}

func (g Goal) bar() string {
	switch {
	case g.AtMost != 0:
		return "<= " + number(g.AtMost, digits)
	case g.AtLeast != 0:
		return ">= " + number(g.AtLeast, digits)
	}
	return "none"
}

func (g Goal) verdict(v float64) string {
	switch {
	case g.AtMost == 0 && g.AtLeast == 0:
		return "to compare"
	case g.Met(v):
		return "met"
	}
	return "missed"
}

// figureRows has a heading, and a row for each rival, the fastest first.
func figureRows(r *Results) [][]string {
	heading := []string{"rival"}
	for _, f := range mainFigures {
		heading = append(heading, f.heading)
	}
	rows := [][]string{heading}
	for _, rival := range r.rivals() {
		row := []string{rival}
		for _, f := range mainFigures {
			cell := "–"
			if v, ok := r.Figures[rival+"."+f.name]; ok {
				cell = number(v, digits)
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return rows
}

// rivals are those who have a main figure, the fastest first.
func (r *Results) rivals() []string {
	names := map[string]bool{}
	for figure := range r.Figures {
		for _, f := range mainFigures {
			if rival, ok := strings.CutSuffix(figure, "."+f.name); ok {
				names[rival] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.Figures[b+"."+endToEnd], r.Figures[a+"."+endToEnd]), cmp.Compare(a, b))
	})
}
