package report

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"path/filepath"
	"slices"
	"strings"
)

var (
	ours        = paint{fill: color.NRGBA{0x0b, 0x62, 0xd6, 0xff}}
	oursLight   = paint{fill: color.NRGBA{0x86, 0xb6, 0xf2, 0xff}}
	theirs      = paint{fill: color.NRGBA{0x8c, 0x95, 0x9f, 0xff}}
	theirsLight = paint{fill: color.NRGBA{0xc8, 0xce, 0xd5, 0xff}}
	ceiling     = paint{fill: color.NRGBA{0xee, 0xf1, 0xf4, 0xff}, stroke: color.NRGBA{0x8c, 0x95, 0x9f, 0xff}}
)

// Charts writes throughput.svg, latency.svg and a file for each sweep to dir. What has no figures has no chart.
func Charts(dir string, r *Results) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("report: charts: %w", err)
	}
	sheets := map[string]*sheet{"throughput": r.throughput(), "latency": r.latency()}
	for _, s := range r.Sweeps {
		drawn, err := s.sheet()
		if err != nil {
			return fmt.Errorf("report: charts: %s: %w", s.Name, err)
		}
		sheets[s.Name] = drawn
	}
	for name, s := range sheets {
		if s == nil {
			continue
		}
		s.caption = r.caption()
		text, err := s.svg()
		if err != nil {
			return fmt.Errorf("report: charts: %s: %w", name, err)
		}
		if err := write(filepath.Join(dir, name+".svg"), text); err != nil {
			return err
		}
	}
	return nil
}

func isOurs(rival string) bool    { return strings.HasPrefix(rival, "typedbus") }
func isCeiling(rival string) bool { return strings.HasPrefix(rival, "raw") }

// throughput is the opening chart, the fastest first.
func (r *Results) throughput() *sheet {
	b := bars{thick: 17, gap: 7, linear: true}
	subtitle := "published, handled and acknowledged; longer is better"
	for _, rival := range r.rivals() {
		v, ok := r.Figures[rival+"."+endToEnd]
		if !ok {
			continue
		}
		look := theirs
		switch {
		case isOurs(rival):
			look = ours
		case isCeiling(rival):
			look = ceiling
			subtitle = "published, handled and acknowledged; longer is better; dashed: go-redis by hand"
		}
		b.rows = append(b.rows, row{rival, []float64{v}, []paint{look}})
	}
	return b.sheet("Events a second, end to end", subtitle)
}

// latency is the second, the quickest first.
func (r *Results) latency() *sheet {
	b := bars{thick: 12, gap: 8}
	for _, rival := range r.rivals() {
		values := []float64{r.figure(rival, latencyP50), r.figure(rival, latencyP99)}
		if math.IsNaN(values[0]) && math.IsNaN(values[1]) {
			continue
		}
		look := []paint{theirs, theirsLight}
		if isOurs(rival) {
			look = []paint{ours, oursLight}
		}
		b.rows = append(b.rows, row{rival, values, look})
	}
	slices.SortStableFunc(b.rows, func(x, y row) int {
		return cmp.Or(cmp.Compare(known(x.values[0]), known(y.values[0])), cmp.Compare(x.name, y.name))
	})
	s := b.sheet("Latency from publish to handler", "microseconds under open load; shorter is better")
	if s != nil {
		s.keys = []key{theirs.key("p50: half of the events are handled by then"), theirsLight.key("p99: 99 of 100 are")}
	}
	return s
}

// figure is NaN where it is missing.
func (r *Results) figure(rival, what string) float64 {
	if v, ok := r.Figures[rival+"."+what]; ok {
		return v
	}
	return math.NaN()
}

// known puts what is missing last.
func known(v float64) float64 {
	if math.IsNaN(v) {
		return math.Inf(1)
	}
	return v
}

// sheet is nil without rows.
func (b bars) sheet(title, subtitle string) *sheet {
	if len(b.rows) == 0 {
		return nil
	}
	p, height := b.plot()
	return &sheet{title: title, subtitle: subtitle + scaleNote(p.X), plot: p, plotHeight: height}
}
