package report

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	nameWidth = 150 // of a row's name, at most
	thin      = 1.5 // of a bar that stands for nothing, or nearly
	valueGap  = 5
	nameGap   = 4
)

// bars are drawn from left to right in rows, with the value at the end of each.
type bars struct {
	rows   []row
	thick  vg.Length // of a bar
	gap    vg.Length // between rows
	linear bool      // however far apart the values are
}

// A row has a bar for each series. A value that is missing is NaN.
type row struct {
	name   string
	values []float64
	paints []paint
}

// A paint is how a bar looks.
type paint struct {
	fill   color.Color
	stroke color.Color // nil is none
}

// plot has an axis below, and the rows' names at the left.
func (b bars) plot() (p *plot.Plot, height vg.Length) {
	p = newPlot()
	var all []float64
	var names plot.ConstantTicks
	for i, r := range b.rows {
		all = append(all, r.values...)
		names = append(names, plot.Tick{Value: b.y(i), Label: fit(textStyle, r.name, nameWidth)})
		height += b.rowHeight(r)
	}
	if b.linear || !logarithmic(all) {
		linearAxis(&p.X, all)
	} else {
		logAxis(&p.X, all)
	}
	p.Y.Padding = nameGap
	p.Y.Min, p.Y.Max = -0.5, float64(len(b.rows))-0.5
	p.Y.Tick.Marker = names
	p.Y.Tick.Label.Font, p.Y.Tick.Label.Color = textStyle.Font, textStyle.Color
	p.Add(&plotter.Grid{Vertical: draw.LineStyle{Color: grid, Width: 0.75}}, b)
	return p, height + lineHeight
}

func (b bars) rowHeight(r row) vg.Length { return b.thick*vg.Length(len(r.values)) + b.gap }

// y is where a row is: the first is the highest.
func (b bars) y(i int) float64 { return float64(len(b.rows) - 1 - i) }

// Plot draws the bars.
func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	_, y := p.Transforms(&c)
	for i, r := range b.rows {
		top := y(b.y(i)) + b.thick*vg.Length(len(r.values))/2
		for j, v := range r.values {
			end := c.Min.X
			if !math.IsNaN(v) {
				end = max(c.X(reach(p, v)), c.Min.X+thin)
				r.paints[j].box(c, vg.Rectangle{Min: vg.Point{X: c.Min.X, Y: top - b.thick + 1}, Max: vg.Point{X: end, Y: top}})
			}
			writeValue(c, vg.Point{X: end + valueGap, Y: top - (b.thick-1)/2 + textLift}, value(v))
			top -= b.thick
		}
	}
}

// writeValue puts paper under the text, so that no line of the grid crosses it.
func writeValue(c draw.Canvas, at vg.Point, txt string) {
	half := faintStyle.Height(txt) / 2
	c.SetColor(paper)
	c.Fill(vg.Rectangle{
		Min: vg.Point{X: at.X - 2, Y: at.Y - half}, Max: vg.Point{X: at.X + faintStyle.Width(txt) + 2, Y: at.Y + half},
	}.Path())
	c.FillText(faintStyle, at, txt)
}

// GlyphBoxes keep space for the values at the right.
func (b bars) GlyphBoxes(p *plot.Plot) (boxes []plot.GlyphBox) {
	for i, r := range b.rows {
		for _, v := range r.values {
			boxes = append(boxes, plot.GlyphBox{
				X: reach(p, v), Y: p.Y.Norm(b.y(i)),
				Rectangle: vg.Rectangle{Max: vg.Point{X: valueGap + faintStyle.Width(value(v)), Y: 1}},
			})
		}
	}
	return boxes
}

// reach is how far a bar goes, from 0 to 1.
func reach(p *plot.Plot, v float64) float64 {
	if !(v > p.X.Min) {
		return 0
	}
	return p.X.Norm(v)
}

func value(v float64) string {
	if math.IsNaN(v) {
		return "not measured"
	}
	return number(v, 3)
}

func (t paint) box(c draw.Canvas, r vg.Rectangle) {
	c.SetColor(t.fill)
	c.Fill(r.Path())
	if t.stroke != nil {
		c.SetLineStyle(draw.LineStyle{Color: t.stroke, Width: 0.75, Dashes: []vg.Length{3, 2}})
		c.Stroke(r.Path())
	}
}

// key shows the paint in the legend.
func (t paint) key(name string) key {
	return key{name, func(c draw.Canvas) { t.box(c, c.Rectangle) }}
}
