// Package report shows what a run has measured: as a table, as JSON, as charts.
package report

// Results are what a run has measured.
type Results struct {
	Ratios  map[string]float64    `json:"ratios"`  // by the name of the goal: the median of the rounds
	Figures map[string]float64    `json:"figures"` // medians by "<rival>.<what>_<unit>", true on this machine at that hour only
	Spread  map[string][2]float64 `json:"spread"`  // the smallest and the largest of the rounds, by the name of the goal
	Sweeps  []Sweep               `json:"sweeps"`
	Machine Machine               `json:"machine"`
}

// A Machine is what the figures were measured on.
type Machine struct {
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	OS      string `json:"os"`
	Go      string `json:"go"`
	Redis   string `json:"redis"`   // with its name, as "Redis 7.0.15"
	Date    string `json:"date"`    // of the run, 2006-01-02
	Seconds int    `json:"seconds"` // that the run took
	Rounds  int    `json:"rounds"`
	Quick   bool   `json:"quick"` // shorter rounds, fewer of them: for a look, not for a figure to quote
}

// A Goal is what a ratio should be.
type Goal struct {
	Name    string // as in results.json
	What    string // in words
	AtLeast float64
	AtMost  float64 // one of the two is set; none where a figure is only to be compared
}

// Met says whether a ratio reaches the goal.
func (g Goal) Met(ratio float64) bool {
	return (g.AtLeast == 0 || ratio >= g.AtLeast) && (g.AtMost == 0 || ratio <= g.AtMost)
}

// A Sweep is how a figure changes with one thing.
type Sweep struct {
	Name  string `json:"name"`   // of its chart's file: "payload"
	Title string `json:"title"`  // "Events a second by size of the body"
	XName string `json:"x_name"` // "body in bytes"
	YName string `json:"y_name"` // "events/s"
	LogX  bool   `json:"log_x"`
	Lines []Line `json:"lines"`
}

// A Line is one series of a [Sweep].
type Line struct {
	Name   string  `json:"name"`
	Points []Point `json:"points"`
}

// A Point of a [Line].
type Point struct {
	X     float64 `json:"x"`
	Y     float64 `json:"y"`
	Label string  `json:"label,omitempty"` // instead of X, as "msgpack"
}
