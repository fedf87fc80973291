package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"

	"github.com/google/renameio/v2"
)

// digits of what is measured are kept; what was set, as a [Point]'s X, stays as it is.
const digits = 4

// Write makes path the results as JSON, or leaves it as it is.
func (r *Results) Write(path string) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("report: write %s: %w", path, err)
	}
	text, err := json.MarshalIndent(r.rounded(), "", "  ")
	if err != nil {
		return fmt.Errorf("report: write %s: %w", path, err)
	}
	return write(path, append(text, '\n'))
}

// Read is what [Results.Write] has written.
func Read(path string) (*Results, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("report: read: %w", err)
	}
	r := &Results{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("report: read %s: %w", path, err)
	}
	return r, nil
}

// write leaves no half of a file, whatever happens.
func write(path string, text []byte) error {
	if err := renameio.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("report: write: %w", err)
	}
	return nil
}

// check names all that is no number: JSON has no word for it, and a chart no place.
func (r *Results) check() error {
	var errs []error
	want := func(v float64, format string, args ...any) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			errs = append(errs, fmt.Errorf("%s is %v", fmt.Sprintf(format, args...), v))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Ratios)) {
		want(r.Ratios[name], "ratio %s", name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Figures)) {
		want(r.Figures[name], "figure %s", name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Spread)) {
		want(r.Spread[name][0], "smallest of %s", name)
		want(r.Spread[name][1], "largest of %s", name)
	}
	for _, s := range r.Sweeps {
		for _, l := range s.Lines {
			for i, p := range l.Points {
				want(p.X, "sweep %s, line %s, point %d: x", s.Name, l.Name, i)
				want(p.Y, "sweep %s, line %s, point %d: y", s.Name, l.Name, i)
			}
		}
	}
	return errors.Join(errs...)
}

// rounded is a copy as it stands in the file.
func (r *Results) rounded() *Results {
	out := &Results{
		Ratios:  roundedMap(r.Ratios),
		Figures: roundedMap(r.Figures),
		Spread:  make(map[string][2]float64, len(r.Spread)),
		Sweeps:  make([]Sweep, len(r.Sweeps)),
		Machine: r.Machine,
	}
	for name, s := range r.Spread {
		out.Spread[name] = [2]float64{rounded(s[0], digits), rounded(s[1], digits)}
	}
	for i, s := range r.Sweeps {
		lines := make([]Line, len(s.Lines))
		for j, l := range s.Lines {
			lines[j] = Line{Name: l.Name, Points: make([]Point, len(l.Points))}
			for k, p := range l.Points {
				p.Y = rounded(p.Y, digits)
				lines[j].Points[k] = p
			}
		}
		s.Lines = lines
		out.Sweeps[i] = s
	}
	return out
}

func roundedMap(in map[string]float64) map[string]float64 {
	out := make(map[string]float64, len(in))
	for name, v := range in {
		out[name] = rounded(v, digits)
	}
	return out
}
