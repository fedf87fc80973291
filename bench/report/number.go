package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// rounded keeps as many digits of v as mean something.
func rounded(v float64, digits int) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil {
		return v // rounded up, the largest numbers are too large
	}
	return r
}

// number is v in words a reader can compare: 1,234,000 and 0.8496.
func number(v float64, digits int) string {
	v = rounded(v, digits)
	if size := math.Abs(v); size != 0 && (size < 1e-4 || size >= 1e12) {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return humanize.Commaf(v)
}

// short is v for an axis: 250k.
func short(v float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if size := math.Abs(v); size >= unit.size && size < 1e12 {
			return number(v/unit.size, 3) + unit.name
		}
	}
	return number(v, 4)
}

// caption is what the figures are true for, in a line. A chart may cut its end, which is what varies in length.
func (r *Results) caption() string {
	m, parts := r.Machine, []string{}
	add := func(format string, set bool, args ...any) {
		if set {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add("a quick run, not to be quoted", m.Quick)
	add("%s", m.Date != "", m.Date)
	add("medians of %d rounds", m.Rounds > 1, m.Rounds)
	add("%s", m.Redis != "", m.Redis)
	add("Go %s", m.Go != "", strings.TrimPrefix(m.Go, "go"))
	add("%s", m.OS != "", m.OS)
	add("%d cores", m.Cores != 0, m.Cores)
	add("%s", m.CPU != "", m.CPU)
	return strings.Join(parts, ", ")
}
