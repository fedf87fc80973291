package report

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
)

// farApart is how many times the smallest value the largest may be before a linear scale hides the smallest.
const farApart = 20

// tiny is what no figure of ours is below; arithmetic on powers of ten fails far below it.
const tiny = 1e-9

// logarithmic says whether values want such a scale, and can have one.
func logarithmic(values []float64) bool {
	lo, hi := math.Inf(1), 0.0
	for _, v := range values {
		if !math.IsNaN(v) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	return lo > tiny && hi/lo > farApart
}

// linearAxis begins at 0, so that lengths and heights may be compared.
func linearAxis(a *plot.Axis, values []float64) {
	a.Min, a.Max = 0, 0
	for _, v := range values {
		if !math.IsNaN(v) {
			a.Min, a.Max = min(a.Min, v), max(a.Max, v)
		}
	}
	if a.Max-a.Min < tiny {
		a.Max = a.Min + 1
	}
	a.Tick.Marker = plot.TickerFunc(evenTicks)
}

// evenTicks are at most six, at 1, 2 or 5 times a power of ten.
func evenTicks(lo, hi float64) (ticks []plot.Tick) {
	step := evenStep(hi - lo)
	for i := math.Ceil(lo / step); i*step <= hi; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: short(rounded(i*step, digits))})
	}
	return ticks
}

func evenStep(length float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(length)))
	for _, part := range []float64{0.2, 0.5, 1} {
		if length/(step*part) <= 5 {
			return step * part
		}
	}
	return 2 * step
}

// logAxis has a line for each power of ten, from the one below the smallest value. All values are above 0.
func logAxis(a *plot.Axis, values []float64) {
	lo, hi := math.Inf(1), 0.0
	for _, v := range values {
		if !math.IsNaN(v) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	a.Scale = plot.LogScale{}
	a.Min, a.Max = math.Pow10(int(math.Floor(math.Log10(lo)))), hi
	if lo/a.Min < 1.2 {
		a.Min /= 10 // or the smallest would have no length
	}
	a.Tick.Marker = plot.TickerFunc(powerTicks)
}

func powerTicks(lo, hi float64) (ticks []plot.Tick) {
	from, to := int(math.Round(math.Log10(lo))), int(math.Floor(math.Log10(hi)))
	for e := from; e <= to; e += 1 + (to-from)/8 {
		ticks = append(ticks, plot.Tick{Value: math.Pow10(e), Label: short(math.Pow10(e))})
	}
	return ticks
}

// measuredTicks stand where points are. Those whose label would touch the one before have none.
func measuredTicks(a plot.Axis, values []float64, width vg.Length) (ticks plot.ConstantTicks) {
	free := vg.Length(math.Inf(-1))
	for _, v := range values {
		t := plot.Tick{Value: v, Label: short(v)}
		half := a.Tick.Label.Width(t.Label)/2 + 3
		if at := vg.Length(a.Norm(v)) * width; at-half >= free {
			free = at + half
		} else {
			t.Label = ""
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// scaleNote warns of what looks shorter than it is.
func scaleNote(a plot.Axis) string {
	if _, ok := a.Scale.(plot.LogScale); ok {
		return "; logarithmic scale"
	}
	return ""
}
