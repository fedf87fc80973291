// Package check looks at a history and says which promises of the bus it breaks.
package check

import "github.com/typedbus/typedbus/internal/chaos/history"

// The invariants, by the names that docs/reliability.md uses.
const (
	NothingLost     = "I1"  // every confirmed publish is handled, or is a dead letter, or is reported lost
	UnknownAtMost   = "I2"  // with dedup an event is stored once at most; without, more than once only after an unknown outcome
	DuplicatesBound = "I3"  // it is handled again no more often than the faults explain
	DoneIsDone      = "I4"  // no handler begins after the acknowledgement was confirmed
	OneAtATime      = "I5"  // two handlers run one event at once only if the first had no heartbeat for a lease
	DeadOnce        = "I6"  // an event that is given up is one dead letter
	NothingLeft     = "I7"  // in the end nothing is pending, delayed or undelivered
	OrderKept       = "I8"  // events of one key are handled in the order of publishing
	EffectOnce      = "I9"  // with a transactional sink each event has one effect
	NothingMadeUp   = "I10" // what is handled was published
)

// Promises are what holds under the faults of a run.
type Promises struct {
	Lease     int64 // nanoseconds
	Dedup     bool
	Ordered   bool
	OneEffect bool
	NoRepeats bool // nothing is handled twice, whatever the faults were
	MayLose   bool // the broker loses data: what was published before a Fault whose Text begins with "data loss" may be gone
	MayRewind bool // the broker forgets acknowledgements: what was settled before such a fault may come again
	MaxDead   int  // how many events may become dead letters, -1: any
}

// End is what the broker holds when the run is over.
type End struct {
	Stored      map[string]int // entries in the topic's stream by event id; nil if nobody looked
	Letters     map[string]int // dead letters by event id
	Pending     int64
	Delayed     int64
	Undelivered int64
}

// A Breach is a promise that was not kept.
type Breach struct {
	Invariant string
	Events    []string // the first hundred
	Text      string
}

// Report is what a history amounts to.
type Report struct {
	Published, Unknown, Handled int
	Lost                        int
	Duplicates, Allowed         int // handled again, and how often the faults explain
	Breaches                    []Breach
}

// Check judges a history, whose records are in the order of time.
//
// Whoever logs as a publisher or consumer is a process; Killed, Paused and Resumed are of processes. A Fault of anybody else (a
// server, the network, "") befalls all. A Fault lasts until Healed of the same Process and Text, or of the same Process
// where no text fits; one that is never healed is over at once.
//
// Nothing is allowed for the clock: Finished, Failed and Publishing are logged before what they permit can happen, Settled
// and Published after what they tell of has, and the clock is the same for all. So if one handler's Started lies between another's
// Started and Finished, both ran at that moment.
func Check(h []history.Record, p Promises, end End) Report {
	c := gather(h, p, end)
	for i := range c.events {
		e := &c.events[i]
		c.published(e)
		c.letters(e)
		c.handled(e)
		c.effects(e)
	}
	c.lost()
	c.left()
	c.order()
	return c.result()
}
