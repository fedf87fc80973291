package check

import (
	"strings"

	"github.com/typedbus/typedbus/internal/chaos/history"
)

// span is a fault, from one moment to another.
type span struct {
	from, to int32
	paused   bool
	open     bool
	loses    bool
	text     string
}

func (c *checker) fault(r *history.Record, now int32) {
	p := &c.processes[c.process(r.Process)]
	switch r.What {
	case history.Killed:
		if p.killed == 0 {
			p.killed = now
		}
		p.heal(now, true, "")
	case history.Paused:
		p.spans = append(p.spans, span{from: now, to: now, paused: true, open: true})
	case history.Resumed:
		p.heal(now, true, "")
	case history.Fault:
		p.spans = append(p.spans, span{from: now, to: now, open: true, text: r.Text, loses: strings.HasPrefix(r.Text, "data loss")})
	case history.Healed:
		p.heal(now, false, r.Text)
	}
}

// heal ends the open pauses or faults, or only those with this text if there are any.
func (p *process) heal(now int32, paused bool, text string) {
	fits := func(s *span) bool { return s.open && s.paused == paused }
	exact := false
	for i := range p.spans {
		exact = exact || fits(&p.spans[i]) && p.spans[i].text == text
	}
	for i := range p.spans {
		if s := &p.spans[i]; fits(s) && (!exact || s.text == text) {
			s.to, s.open = now, false
		}
	}
}

// spread ends what is open, and finds out whom the faults befall.
func (c *checker) spread() {
	for i := range c.processes {
		p := &c.processes[i]
		for j := range p.spans {
			if s := &p.spans[j]; s.open && s.paused {
				s.to = int32(len(c.h))
			}
		}
		if !p.logs {
			c.all = append(c.all, p.spans...)
			p.spans = nil
		}
	}
}

// befell says whether something befell a process, or everybody, that f accepts.
func (c *checker) befell(p int32, f func(*span) bool) bool {
	for _, spans := range [...][]span{c.processes[p].spans, c.all} {
		for i := range spans {
			if f(&spans[i]) {
				return true
			}
		}
	}
	return false
}

// at is the time of a moment.
func (c *checker) at(moment int32) int64 { return c.h[moment-1].At }

// stalled says whether a process that held a delivery since start, or shortly before, may have lost its lease by the moment by.
//
// Leases are renewed every third of a lease. So one is lost by a pause of two thirds, if it begins when the next renewal is due;
// and by an outage of one third, which swallows one renewal while the next is due a third after its end. What was received
// before the handler began may have been lost up to a lease before, and nobody has noticed.
func (c *checker) stalled(p, start, by int32) bool {
	return c.befell(p, func(s *span) bool {
		if s.from >= by || c.at(s.to) < c.at(start)-c.p.Lease {
			return false
		}
		least := c.p.Lease / 3
		if s.paused {
			least *= 2
		}
		return c.at(min(s.to, by))-c.at(s.from) >= least && s.to > s.from
	})
}

// rewound says whether the broker may have forgotten at a moment what it knew before.
func (c *checker) rewound(known, moment int32) bool {
	return c.p.MayRewind && c.losesBetween(known, moment)
}

func (c *checker) losesBetween(known, moment int32) bool {
	for i := range c.all {
		if s := &c.all[i]; s.loses && known <= s.to && s.from <= moment {
			return true
		}
	}
	return false
}

// again says whether a run has an explanation, though another of the same event began before.
func (c *checker) again(before, n *run) bool {
	killed := c.processes[before.process].killed
	unsettled := before.settled == 0 || before.settled > n.start
	switch {
	case killed > before.start && killed <= n.start && unsettled,
		before.gone != 0 && before.gone <= n.start,
		c.stalled(before.process, before.start, n.start),
		c.stalled(n.process, n.start, n.start),
		c.rewound(max(before.start, before.end), n.start):
		return true
	}
	return before.ok && unsettled && before.end <= n.start && c.unanswered(before, n.start)
}

// unanswered says whether the acknowledgement of a run may have had no answer by a moment.
func (c *checker) unanswered(n *run, by int32) bool {
	return c.befell(n.process, func(s *span) bool { return !s.paused && s.from <= by && s.to >= n.end })
}
