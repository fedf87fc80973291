package chaos

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/redistest"
)

// timed is one server whose clock can be set.
func timed(flags ...string) func(*run) site {
	return func(r *run) site {
		s, c := redistest.StartClock(r, flags...)
		return site{url: s.URL, redis: s.Client(), server: s, clock: c}
	}
}

// ahead sets the clock of the server forward: all leases are over at once. What is held then may be handled twice. For the
// checker that is an outage, which must be as long as one that ends a lease.
func ahead(step time.Duration) fault {
	return func(r *run) {
		r.inject(history.Fault, "server", "its clock leaps forward")
		r.pause(r.consuming.Lease/3 + 50*time.Millisecond)
		r.log.Log(history.Record{What: history.Recovered, Process: "server", Text: clockLeaps})
		r.clock.Add(step)
		r.pause(r.consuming.Lease)
		r.heal("server", "its clock leaps forward")
	}
}

// back sets the clock of the server back for a time, which everybody is to live through without noticing, and then right again.
func back(step, length time.Duration) fault {
	return func(r *run) {
		r.clock.Add(-step)
		r.faults++
		r.log.Log(history.Record{What: history.Recovered, Process: "server", Text: clockIsBack})
		r.pause(length)
		r.log.Log(history.Record{What: history.Recovered, Process: "server", Text: clockIsRight})
		ahead(step)(r)
	}
}

const (
	clockLeaps   = "its clock leaps now"
	clockIsBack  = "its clock is back"
	clockIsRight = "its clock is right"
)

// killedThen lets the fault befall the run right after a consumer was killed.
func killedThen(f fault) fault {
	return func(r *run) {
		kill(r)
		f(r)
	}
}

// trembling sets the clock of the server to any time up to spread ahead and behind, all the time.
func trembling(spread time.Duration) fault {
	return func(r *run) {
		for r.busy(20 * time.Millisecond) {
			r.clock.Set(time.Duration(r.rand.Int64N(int64(2*spread))) - spread)
			r.faults++
		}
		r.clock.Set(0)
	}
}

// fewTwice: a leap makes no more be handled again than was held: by handlers that ran then, or shortly before.
func fewTwice(r *run) {
	const shortly = int64(100 * time.Millisecond)
	running, most := inFlight{}, 0
	for _, leap := range r.history {
		running.follow(leap)
		if leap.Text != clockLeaps {
			continue
		}
		for _, events := range running {
			most += len(events)
		}
		for _, h := range r.history {
			d := h.At - leap.At
			if h.What == history.Finished && -shortly < d && d < 0 { // and perhaps not acknowledged
				most++
			}
		}
	}
	r.note("%d handled again of %d that were held", r.found.Duplicates, most)
	assert.LessOrEqual(r, r.found.Duplicates, most, "handled again")
}

// whileBack measures how long events wait that are published while the clock is back, and have no delay.
func whileBack(limit time.Duration) func(*run) {
	return func(r *run) {
		is := false
		published := map[string]int64{}
		for _, h := range r.history {
			switch {
			case h.Text == clockIsBack || h.Text == clockIsRight:
				is = h.Text == clockIsBack
			case h.What == history.Publishing && is:
				published[h.ID] = h.At
			case h.What == history.Started && published[h.ID] != 0:
				r.recovery = append(r.recovery, time.Duration(h.At-published[h.ID]))
				delete(published, h.ID)
			}
		}
		r.within(limit, "from publishing to the handler while the clock was back")
	}
}

// stuck notes what waited until the clock was right again: what a dead process held.
func stuck(r *run) {
	running, waits := inFlight{}, map[string]bool{}
	held, before := 0, 0
	is := false
	for _, h := range r.history {
		running.follow(h)
		switch {
		case h.What == history.Killed:
			for id := range running[h.Process] {
				waits[id] = true
			}
			held += len(waits)
		case h.Text == clockIsBack || h.Text == clockIsRight:
			is = h.Text == clockIsBack
		case h.What == history.Started && waits[h.ID]:
			delete(waits, h.ID)
			if is {
				before++
			}
		}
	}
	require.Positive(r, held, "the dead process held something")
	r.note("of %d that the dead process held, %d were handled before the clock was right again", held, before)
}
