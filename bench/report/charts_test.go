package report_test

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bench/report"
)

const sheetWidth = 540 // points

// A drawn is what a test looks at in an SVG file.
type drawn struct {
	Width string `xml:"width,attr"`
	Group struct {
		Texts []textElement `xml:"text"`
		Paths []struct {
			D     string `xml:"d,attr"`
			Style string `xml:"style,attr"`
		} `xml:"path"`
	} `xml:"g"`
}

type textElement struct {
	X     float64 `xml:"x,attr"`
	Y     float64 `xml:"y,attr"`
	Style string  `xml:"style,attr"`
	Text  string  `xml:",chardata"`
}

// box is about where a text is.
func (e textElement) box(t *testing.T) (left, right, top, bottom float64) {
	t.Helper()
	_, size, _ := strings.Cut(e.Style, "font-size:")
	size, _, _ = strings.Cut(size, "px")
	height, err := strconv.ParseFloat(size, 64)
	require.NoError(t, err, e.Style)
	return e.X, e.X + float64(len([]rune(e.Text)))*height*0.45, e.Y - height*0.7, e.Y
}

func (d drawn) texts() (texts []string) {
	for _, e := range d.Group.Texts {
		texts = append(texts, e.Text)
	}
	return texts
}

// shapes are the filled ones, without the paper.
func (d drawn) shapes() (n int) {
	for _, p := range d.Group.Paths {
		if !strings.Contains(p.Style, "fill:none") && !strings.Contains(p.Style, "fill:#FFFFFF") {
			n++
		}
	}
	return n
}

func charts(t *testing.T, r *report.Results) map[string]drawn {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, report.Charts(dir, r))
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	out := map[string]drawn{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, wrong := range []string{"NaN", "Inf", "Liberation Sans;"} {
			assert.NotContains(t, string(text), wrong, name)
		}
		var d drawn
		require.NoError(t, xml.Unmarshal(text, &d), name)
		assertFits(t, filepath.Base(name), d)
		out[filepath.Base(name)] = d
	}
	return out
}

// assertFits wants all texts on the paper, and none on another.
func assertFits(t *testing.T, name string, d drawn) {
	t.Helper()
	assert.Equal(t, "540pt", d.Width, "which is 720 pixels")
	for i, a := range d.Group.Texts {
		left, right, top, bottom := a.box(t)
		assert.GreaterOrEqual(t, left, 0.0, "%s: %s", name, a.Text)
		assert.LessOrEqual(t, right, float64(sheetWidth), "%s: %s", name, a.Text)
		for _, b := range d.Group.Texts[:i] {
			l, r, tp, bt := b.box(t)
			apart := right < l || r < left || bottom < tp || bt < top
			assert.True(t, apart, "%s: %q and %q overlap", name, a.Text, b.Text)
		}
	}
}

func TestCharts(t *testing.T) {
	got := charts(t, sample())
	for name, want := range map[string]struct {
		shapes int // one a value, one a key
		texts  []string
	}{
		"throughput.svg": {6, []string{"Events a second, end to end", "typedbus-batch-bytes", "604,000", "raw", "712,000", "14,200"}},
		"latency.svg":    {10 + 2, []string{"typedbus-json", "143", "410", "asynq", "1,490", "11,200", "10k"}},
		"payload.svg":    {15 + 3, []string{"Events a second by size of the body", "body in bytes", "1.05M", "events/s; logarithmic scale"}},
		"publishers.svg": {10 + 2, []string{"1", "4", "16", "64", "256", "AutoPipeline", "events/s", "300k"}},
		"topics.svg":     {4 + 1, []string{"typedbus", "1k", "200k"}},
		"codec.svg":      {6 + 2, []string{"json", "msgpack", "protobuf", "501,000", "one by one"}},
	} {
		require.Contains(t, got, name)
		assert.Equal(t, want.shapes, got[name].shapes(), name)
		caption := "2026-11-23, medians of 5 rounds, Redis 7.0.15, Go 1.26.1, linux/amd64, 2 cores, " +
			"Intel(R) Xeon(R) Processor @ 2.90GHz"
		assert.Subset(t, got[name].texts(), append(want.texts, caption), name)
	}
	assert.Len(t, got, 6)
}

func TestChartsAreTheSameTwice(t *testing.T) {
	read := func() map[string]string {
		dir, out := t.TempDir(), map[string]string{}
		require.NoError(t, report.Charts(dir, sample()))
		for _, name := range []string{"throughput", "latency", "payload", "codec"} {
			text, err := os.ReadFile(filepath.Join(dir, name+".svg"))
			require.NoError(t, err)
			out[name] = string(text)
		}
		return out
	}
	assert.Equal(t, read(), read())
}

func TestChartsOfNothing(t *testing.T) {
	sweeps := []report.Sweep{{Name: "none"}, {Name: "empty", Lines: []report.Line{{Name: "x"}}}}
	assert.Empty(t, charts(t, &report.Results{Sweeps: sweeps}))
}

func TestChartsOfOddFigures(t *testing.T) {
	long := "typedbus-" + strings.Repeat("with-a-long-name-", 9)
	r := &report.Results{
		Figures: map[string]float64{
			long + ".e2e_per_second": 1e300, "zero.e2e_per_second": 0, "raw.e2e_per_second": 5e-324, "below.e2e_per_second": -3,
			long + ".latency_p50_us": 1e300, "zero.latency_p50_us": 0, "b.latency_p99_us": 1e308,
		},
		Sweeps: []report.Sweep{
			{Name: "single", LogX: true, Lines: []report.Line{line("one", 1, 0)}},
			{Name: "zeros", LogX: true, Lines: []report.Line{line(long, 0, 0, 10, 1e9, 1e12, 5)}},
			{Name: "tiny", Lines: []report.Line{line("a", 0, 5e-324), line("b", 5e-324, 5e-324), line(long, 1, 1e-300), line(long)}},
			{Name: "huge", LogX: true, Lines: []report.Line{line("a", 1e-300, 1e-5, 1e300, 1e308)}},
			{Name: "holes", Lines: []report.Line{
				{Name: long, Points: []report.Point{{Y: 1, Label: long}, {Y: 1e6, Label: "<&>"}, {X: 7, Y: 0.001}}},
				{Name: long, Points: []report.Point{{Y: 2, Label: "<&>"}}},
			}},
		},
		Machine: report.Machine{CPU: strings.Repeat("long ", 50), Quick: true, Date: "2026-11-23"},
	}
	r.Sweeps[1].XName = "x"
	r.Sweeps[1].Title, r.Sweeps[1].YName = strings.Repeat("Events a second ", 9), strings.Repeat("events a second ", 14)
	got := charts(t, r)
	assert.Len(t, got, 7)
	assert.Equal(t, 4, got["throughput.svg"].shapes(), "what is 0 has a shape, too")
	assert.Equal(t, 3+2, got["latency.svg"].shapes(), "what is missing has none")
	assert.Subset(t, got["latency.svg"].texts(), []string{"not measured", "0", "1e+308"})
	assert.Equal(t, 4+2, got["holes.svg"].shapes())
	assert.Subset(t, got["holes.svg"].texts(), []string{"<&>", "7", "not measured"})
	assert.Contains(t, strings.Join(got["single.svg"].texts(), "\n"), "a quick run, not to be quoted, 2026-11-23, long")
}
