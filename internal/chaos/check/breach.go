package check

import (
	"cmp"
	"fmt"
	"slices"
)

// breachKind is an invariant and a way to break it.
type breachKind struct{ invariant, kind string }

const named = 100

// breach notes that an event, if there is one, breaks an invariant. The text is kept of the first of a kind.
func (c *checker) breach(invariant, kind string, e *event, format string, args ...any) {
	k := breachKind{invariant, kind}
	b := c.breaches[k]
	if b == nil {
		b = &Breach{Invariant: invariant, Text: fmt.Sprintf(format, args...)}
		if e != nil {
			b.Text = e.id + ": " + b.Text
		}
		c.breaches[k] = b
	}
	if e == nil || slices.Contains(b.Events, e.id) {
		return
	}
	if c.counts[k]++; len(b.Events) < named {
		b.Events = append(b.Events, e.id)
	}
}

func (c *checker) result() Report {
	for k, b := range c.breaches {
		if n := c.counts[k]; n > 1 {
			b.Text = fmt.Sprintf("%s (%d events; the first is %s)", k.kind, n, b.Text)
		}
		c.report.Breaches = append(c.report.Breaches, *b)
	}
	slices.SortFunc(c.report.Breaches, func(a, b Breach) int {
		return cmp.Or(cmp.Compare(len(a.Invariant), len(b.Invariant)), cmp.Compare(a.Invariant, b.Invariant), cmp.Compare(a.Text, b.Text))
	})
	return c.report
}
