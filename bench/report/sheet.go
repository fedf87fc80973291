package report

import (
	"bytes"
	"image/color"
	"math"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	sheetWidth = 540 // points: 720 pixels
	margin     = 18
	lineHeight = 15
	textLift   = 1 // of what stands beside a box: most letters and all digits have nothing below the line
)

var (
	ink    = color.NRGBA{0x1f, 0x23, 0x28, 0xff}
	faint  = color.NRGBA{0x59, 0x63, 0x6e, 0xff}
	grid   = color.NRGBA{0xe3, 0xe7, 0xeb, 0xff}
	border = color.NRGBA{0xd1, 0xd9, 0xe0, 0xff}
	paper  = color.NRGBA{0xff, 0xff, 0xff, 0xff}

	titleStyle   = style(13.5, xfont.WeightBold, ink)
	textStyle    = style(10, xfont.WeightNormal, ink)
	faintStyle   = style(9, xfont.WeightNormal, faint)
	captionStyle = style(8, xfont.WeightNormal, faint)
)

// style measures in Liberation Sans, which is as wide as the Arial and Helvetica that most machines have.
func style(size vg.Length, weight xfont.Weight, c color.Color) text.Style {
	return text.Style{
		Color: c, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Weight: weight, Size: size},
		YAlign: draw.YCenter, Handler: plot.DefaultTextHandler,
	}
}

// A sheet is a plot with what stands around it, on paper of its own: readable on a page of any colour.
type sheet struct {
	title, subtitle, caption string
	keys                     []key
	plot                     *plot.Plot
	plotHeight               vg.Length
}

// A key says in the legend what looks like this.
type key struct {
	name string
	draw func(c draw.Canvas) // fills c
}

const keyWidth = 16

// svg draws from the top downwards.
func (s sheet) svg() ([]byte, error) {
	rows := s.keyRows()
	height := margin/2 + 2*lineHeight + 8 + lineHeight*vg.Length(len(rows)) + 6 + s.plotHeight + 6 + lineHeight + margin/2
	canvas := vgsvg.New(sheetWidth, height)
	c := draw.New(canvas)
	drawPaper(c)
	c = draw.Crop(c, margin, -margin, 0, -margin/2)
	line := func(sty text.Style, height vg.Length, txt string) {
		c.FillText(sty, vg.Point{X: c.Min.X, Y: c.Max.Y - height/2}, fit(sty, txt, c.Max.X-c.Min.X))
		c.Max.Y -= height
	}
	line(titleStyle, lineHeight+3, s.title)
	line(faintStyle, lineHeight, s.subtitle)
	c.Max.Y -= 5
	for _, row := range rows {
		drawKeys(c, row)
		c.Max.Y -= lineHeight
	}
	c.Max.Y -= 6
	s.plot.Draw(draw.Crop(c, 0, 0, c.Max.Y-c.Min.Y-s.plotHeight, 0))
	c.Max.Y -= s.plotHeight + 6
	line(captionStyle, lineHeight, s.caption)
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, err
	}
	return withAnyFont(out.Bytes()), nil
}

// withAnyFont says once, for all texts, which fonts will do; the library repeats the one it has measured.
func withAnyFont(svg []byte) []byte {
	for old, by := range map[string]string{
		"font-family:Liberation Sans;font-variant:normal;font-weight:normal;font-style:normal;": "",
		"font-family:Liberation Sans;font-variant:normal;font-weight:bold;font-style:normal;":   "font-weight:bold;",
		"<svg ": `<svg font-family="Arial,Helvetica,'Liberation Sans',sans-serif" `,
	} {
		svg = bytes.ReplaceAll(svg, []byte(old), []byte(by))
	}
	return svg
}

func drawPaper(c draw.Canvas) {
	const r, edge = 6, 0.5
	lo := vg.Point{X: c.Min.X + edge, Y: c.Min.Y + edge}
	hi := vg.Point{X: c.Max.X - edge, Y: c.Max.Y - edge}
	var p vg.Path
	p.Move(vg.Point{X: lo.X + r, Y: lo.Y})
	p.Arc(vg.Point{X: hi.X - r, Y: lo.Y + r}, r, -math.Pi/2, math.Pi/2)
	p.Arc(vg.Point{X: hi.X - r, Y: hi.Y - r}, r, 0, math.Pi/2)
	p.Arc(vg.Point{X: lo.X + r, Y: hi.Y - r}, r, math.Pi/2, math.Pi/2)
	p.Arc(vg.Point{X: lo.X + r, Y: lo.Y + r}, r, math.Pi, math.Pi/2)
	p.Close()
	c.SetColor(paper)
	c.Fill(p)
	c.SetLineStyle(draw.LineStyle{Color: border, Width: 0.75})
	c.Stroke(p)
}

// keyRows breaks the legend into lines that fit.
func (s sheet) keyRows() (rows [][]key) {
	left := vg.Length(0)
	for _, k := range s.keys {
		k.name = fit(faintStyle, k.name, sheetWidth-2*margin-2*keyWidth)
		left -= k.width()
		if left < 0 || rows == nil {
			rows = append(rows, nil)
			left = sheetWidth - 2*margin - k.width()
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], k)
	}
	return rows
}

func (k key) width() vg.Length { return keyWidth + 5 + faintStyle.Width(k.name) + 14 }

func drawKeys(c draw.Canvas, keys []key) {
	x, y := c.Min.X, c.Max.Y-lineHeight/2
	for _, k := range keys {
		k.draw(draw.Canvas{Canvas: c, Rectangle: vg.Rectangle{
			Min: vg.Point{X: x, Y: y - 4}, Max: vg.Point{X: x + keyWidth, Y: y + 4},
		}})
		c.FillText(faintStyle, vg.Point{X: x + keyWidth + 5, Y: y + textLift}, k.name)
		x += k.width()
	}
}

// fit cuts what is longer than width.
func fit(sty text.Style, txt string, width vg.Length) string {
	if sty.Width(txt) <= width {
		return txt
	}
	for runes := []rune(txt); len(runes) > 0; {
		runes = runes[:len(runes)-1]
		if cut := string(runes) + "…"; sty.Width(cut) <= width {
			return cut
		}
	}
	return ""
}

// newPlot is an empty one: no line but the grid's, small grey labels.
func newPlot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Padding, a.LineStyle.Width, a.Tick.Length = 0, 0, 0
		x, y := a.Tick.Label.XAlign, a.Tick.Label.YAlign
		a.Tick.Label = faintStyle
		a.Tick.Label.XAlign, a.Tick.Label.YAlign = x, y
		a.Label.TextStyle = faintStyle
		a.Label.TextStyle.XAlign, a.Label.TextStyle.YAlign = draw.XCenter, draw.YBottom
	}
	return p
}
