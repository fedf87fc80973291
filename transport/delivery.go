package transport

import "time"

// A Delivery is a message leased to one consumer of a group.
type Delivery struct {
	*Message

	Topic string
	Group string

	// Attempt is 1 plus the number of times this group settled the message as Failed.
	Attempt int
	// Redelivered is how often this group got the message again without an outcome: its consumer had died or lost the lease.
	Redelivered int
	// Replays is how often the message was replayed from this group's dead letters.
	Replays int

	// Receipt names this lease to the transport that made it: unique among what its subscription holds.
	Receipt string

	// Malformed is nil, or says why what was stored is no message of this transport's format. Such a delivery carries what
	// could be read, and an ID all the same, so that it can be settled like any other.
	Malformed error
}

// A Verdict is how a delivery ends.
type Verdict uint8

const (
	_ Verdict = iota
	// Done: the group has handled the message and does not get it again.
	Done
	// Failed: the group gets it again, After from now and not earlier, with Attempt one higher and the same Redelivered.
	Failed
	// Deferred: the group gets it again, After from now and not earlier (at once if After is 0), with Attempt and Redelivered
	// as they are.
	Deferred
	// Dead: the message becomes one [Letter] of the group's dead letters, and the group does not get it again.
	Dead
)

func (v Verdict) String() string {
	switch v {
	case Done:
		return "done"
	case Failed:
		return "failed"
	case Deferred:
		return "deferred"
	case Dead:
		return "dead"
	}
	return "invalid"
}

// A Settlement ends a delivery. What it says concerns its own group only: other groups of the topic are not affected.
type Settlement struct {
	*Delivery
	Verdict Verdict
	After   time.Duration // Failed, Deferred: not before, by the broker's clock
	Reason  string        // Dead: why, in one word (decode_error, exhausted, permanent, crashed, expired, ...)
	Error   string        // Dead: the error text; kept up to MaxErrorText bytes
	Stage   []Staged      // Done only: stored in the same atomic step, or not at all
}

// MaxErrorText is how many bytes of an error text a dead letter keeps.
const MaxErrorText = 1024

// Staged is a message to be stored together with a settlement.
type Staged struct {
	Topic Topic
	*Message
}

// A Letter is a message that a group gave up on, as it was stored: body, headers, id and key are those of the message,
// unchanged by anything that handled it.
type Letter struct {
	*Message
	LetterID    string // names the letter among those of its group
	Reason      string
	Error       string
	Attempt     int // the attempt that ended here
	Redelivered int
	Replays     int       // how often it was replayed before
	Consumer    string    // who gave up
	Died        time.Time // when, by the broker's clock; of a letter that was put, as its Died said
}

// Lag is how far a group is behind.
type Lag struct {
	Undelivered int64         // stored and not yet delivered to the group; -1 if the broker cannot tell
	Pending     int64         // delivered and not settled
	Oldest      time.Duration // since the oldest pending message was stored; 0 if there is none
	Waiting     int64         // Failed or Deferred and not yet due
	Delayed     int64         // published with a NotBefore that has not come; for all groups of the topic
	Dead        int64         // dead letters

	LettersDropped int64 // dead letters that the bound of [Group.Letters] has removed since the group was made
}

// An Act is something that was done with the dead letters of a group, kept for those who ask later.
type Act struct {
	ActID  string    // names the act among those of its group
	Time   time.Time // when it was recorded, by the broker's clock
	Who    string    // who did it
	What   string    // in one word: replay, discard, edit, import, export
	Detail string    // in words: which letters
	Count  int64     // how many letters; -1 while that is not known
}
