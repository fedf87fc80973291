package report

import (
	"cmp"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const linesHeight = 230

// lineColors tell apart what is drawn in one chart, also for those who do not see red and green; so do the shapes.
var (
	lineColors = []color.Color{
		ours.fill,
		color.NRGBA{0xd9, 0x6c, 0x00, 0xff},
		color.NRGBA{0x0f, 0x8f, 0x6f, 0xff},
		color.NRGBA{0x9a, 0x3f, 0xa6, 0xff},
		color.NRGBA{0xb0, 0x8a, 0x00, 0xff},
		color.NRGBA{0x3b, 0x45, 0x50, 0xff},
	}
	lineShapes = []draw.GlyphDrawer{draw.CircleGlyph{}, boxGlyph{}, draw.PyramidGlyph{}}
)

// sheet is nil without points.
func (s Sweep) sheet() (*sheet, error) {
	lines := slices.DeleteFunc(slices.Clone(s.Lines), func(l Line) bool { return len(l.Points) == 0 })
	if len(lines) == 0 {
		return nil, nil
	}
	s.Lines = lines
	for _, l := range lines {
		if slices.ContainsFunc(l.Points, func(p Point) bool { return p.Label != "" }) {
			return s.bars(), nil
		}
	}
	return s.lines()
}

// bars has a row for each label, in the order in which they come, and a bar for each line.
func (s Sweep) bars() *sheet {
	b := bars{thick: 12, gap: 8}
	at := map[string]int{}
	for j, l := range s.Lines {
		for _, p := range l.Points {
			name := cmp.Or(p.Label, short(p.X))
			i, ok := at[name]
			if !ok {
				i = len(b.rows)
				at[name] = i
				b.rows = append(b.rows, s.emptyRow(name))
			}
			b.rows[i].values[j] = p.Y
		}
	}
	out := b.sheet(s.Title, s.YName)
	for j, l := range s.Lines {
		out.keys = append(out.keys, lineLook(j, l.Name).paint().key(l.Name))
	}
	return out
}

func (s Sweep) emptyRow(name string) row {
	r := row{name: name}
	for j, l := range s.Lines {
		r.values = append(r.values, math.NaN())
		r.paints = append(r.paints, lineLook(j, l.Name).paint())
	}
	return r
}

// lines has a point for each value.
func (s Sweep) lines() (*sheet, error) {
	p := newPlot()
	xs, ys := s.values()
	if logarithmic(ys) {
		logAxis(&p.Y, ys)
	} else {
		linearAxis(&p.Y, ys)
		step := evenStep(p.Y.Max - p.Y.Min)
		p.Y.Max = step * math.Ceil(p.Y.Max/step) // a line of the grid above all points
	}
	s.scaleX(&p.X, xs)
	p.X.Label.Text = s.XName
	p.Add(&plotter.Grid{Horizontal: draw.LineStyle{Color: grid, Width: 0.75}})
	out := &sheet{title: s.Title, subtitle: s.YName + scaleNote(p.Y), plot: p, plotHeight: linesHeight}
	for j, l := range s.Lines {
		k, err := l.addTo(p, lineLook(j, l.Name))
		if err != nil {
			return nil, err
		}
		out.keys = append(out.keys, k)
	}
	return out, nil
}

func (s Sweep) values() (xs, ys []float64) {
	for _, l := range s.Lines {
		for _, p := range l.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	slices.Sort(xs)
	return slices.Compact(xs), ys
}

// scaleX has marks where something was measured, or evenly where that is nearly everywhere.
func (s Sweep) scaleX(a *plot.Axis, xs []float64) {
	linearAxis(a, xs)
	if s.LogX && xs[0] > 0 {
		a.Scale = plot.LogScale{}
		a.Min, a.Max = xs[0], xs[len(xs)-1]
		if a.Min == a.Max {
			a.Min, a.Max = a.Min/2, a.Max*2
		}
	}
	a.LineStyle.Width, a.LineStyle.Color = 0.75, border
	a.Tick.Length, a.Tick.LineStyle = 3, draw.LineStyle{Color: border, Width: 0.75}
	a.Tick.Marker = measuredTicks(*a, xs, sheetWidth-4*margin)
}

// A look is how a line is told from the others.
type look struct {
	line  draw.LineStyle
	shape draw.GlyphDrawer
}

// lineLook shows the ceiling as the bars do: grey and dashed.
func lineLook(i int, name string) look {
	out := look{draw.LineStyle{Color: lineColors[i%len(lineColors)], Width: 2}, lineShapes[i%len(lineShapes)]}
	if isCeiling(name) {
		out.line.Color, out.line.Dashes = ceiling.stroke, []vg.Length{4, 3}
	}
	return out
}

func (k look) paint() paint {
	if k.line.Dashes != nil {
		return ceiling
	}
	return paint{fill: k.line.Color}
}

func (k look) glyph() draw.GlyphStyle {
	return draw.GlyphStyle{Color: k.line.Color, Radius: 3, Shape: k.shape}
}

func (l Line) addTo(p *plot.Plot, k look) (key, error) {
	points := make(plotter.XYs, len(l.Points))
	for i, pt := range l.Points {
		points[i] = plotter.XY{X: pt.X, Y: pt.Y}
	}
	slices.SortStableFunc(points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return key{}, err
	}
	line.LineStyle, dots.GlyphStyle = k.line, k.glyph()
	p.Add(line, dots)
	return key{l.Name, func(c draw.Canvas) {
		c.StrokeLine2(k.line, c.Min.X, c.Center().Y, c.Max.X, c.Center().Y)
		c.DrawGlyph(k.glyph(), c.Center())
	}}, nil
}

// boxGlyph is a full square; the library's is a frame.
type boxGlyph struct{}

// DrawGlyph draws it.
func (boxGlyph) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, pt vg.Point) {
	r := sty.Radius * 0.9
	c.Fill(vg.Rectangle{Min: vg.Point{X: pt.X - r, Y: pt.Y - r}, Max: vg.Point{X: pt.X + r, Y: pt.Y + r}}.Path())
}
