package check

import (
	"fmt"
	"slices"
)

// handled looks at the runs of one event: I3, I4, I5.
func (c *checker) handled(e *event) {
	if e.finished > 0 {
		c.report.Handled++
	}
	if e.first == e.last {
		return
	}
	copies := c.copies(e)
	for n := range c.runsOf(e) {
		c.afterDone(e, n, copies)
		c.atOnce(e, n, copies)
	}
	c.repeats(e, copies-1)
}

// afterDone finds a run that began after the broker had confirmed that the event is done.
func (c *checker) afterDone(e *event, n *run, copies int32) {
	done := int32(0)
	var last *run
	for other := range c.runsOf(e) {
		if other == n {
			break // those that began later are not done before this one begins
		}
		if other.done && other.settled < n.start && !c.lateStart(other, n) && !c.rewound(max(other.start, other.end), n.start) {
			done, last = done+1, other
		}
	}
	if done < copies {
		return
	}
	n.named = true
	c.breach(DoneIsDone, "began after it was done", e, "%s began it %s, though the broker had confirmed to %s %s that it is done",
		c.name(n), c.when(n.start), c.name(last), c.when(last.settled))
}

// lateStart says whether a run could begin although the event was done: its process had received it before that, because the
// lease of one of the two was lost.
func (c *checker) lateStart(done, n *run) bool {
	if c.stalled(n.process, n.start, n.start) {
		return true
	}
	return c.at(n.start)-c.at(done.settled) <= c.p.Lease && c.stalled(done.process, done.start, done.settled)
}

// atOnce finds runs that n overlaps, though those it began after still held it.
func (c *checker) atOnce(e *event, n *run, copies int32) {
	running := int32(0)
	var last *run
	for other := range c.runsOf(e) {
		if other == n {
			break
		}
		if c.over(other) > n.start && !c.again(other, n) {
			running, last = running+1, other
		}
	}
	if running < copies || n.named {
		return
	}
	n.named = true
	c.breach(OneAtATime, "ran twice at once", e, "%s began it %s, while %s had been running it since %s",
		c.name(n), c.when(n.start), c.name(last), c.when(last.start))
}

// over is when a run is over.
func (c *checker) over(n *run) int32 {
	if n.end != 0 {
		return n.end
	}
	if killed := c.processes[n.process].killed; killed > n.start {
		return killed
	}
	if n.settled != 0 { // its end is not on record
		return n.settled
	}
	return never
}

// repeats counts the successes beyond the first, and finds those that nothing explains: each success can come again once, for
// one fault. spare is how many more entries of the event there may be.
func (c *checker) repeats(e *event, spare int32) {
	var before []*run // that have not come again
	for n := range c.runsOf(e) {
		if !n.ok {
			continue
		}
		if len(before) > 0 {
			c.report.Duplicates++
			i := slices.IndexFunc(before, func(b *run) bool { return c.again(b, n) })
			switch {
			case c.p.NoRepeats:
				c.repeated(e, before[len(before)-1], n)
			case i >= 0:
				before = slices.Delete(before, i, i+1)
				c.report.Allowed++
			case spare > 0:
				spare--
				c.report.Allowed++
			case !n.named:
				c.repeated(e, before[len(before)-1], n)
			}
		}
		before = append(before, n)
	}
}

func (c *checker) repeated(e *event, before, n *run) {
	ack := "no acknowledgement of which is on record"
	if before.done {
		ack = "acknowledged " + c.when(before.settled)
	}
	c.breach(DuplicatesBound, "handled again", e, "%s handled it %s, after %s had %s, %s: no fault explains that",
		c.name(n), c.when(n.end), c.name(before), c.when(before.end), ack)
}

func (c *checker) name(n *run) string { return c.processes[n.process].name }

// when is a moment, since the run began.
func (c *checker) when(moment int32) string {
	return fmt.Sprintf("at %+.4fs", float64(c.at(moment)-c.h[0].At)/1e9)
}
