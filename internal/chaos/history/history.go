// Package history writes down what happens while faults are injected, by many processes at once, and reads it again.
//
// Each process appends to a file of its own, a line for each record in one write, so that a process that is killed leaves whole
// lines. Times are of the machine's monotonic clock, which all processes share and nobody sets.
package history

// What is what a record says happened.
type What string

const (
	// Of publishers. Each event has one of them, after the last try; Publishing comes before the first.
	Publishing   What = "publishing"
	Published    What = "published"     // Publish returned nil
	NotPublished What = "not published" // it is not stored, says Publish
	Unknown      What = "unknown"       // it may be stored, says Publish

	// Of consumers.
	Started  What = "started"  // a handler begins; Attempt and Redelivered are those of the delivery
	Finished What = "finished" // it returned nil
	Failed   What = "failed"   // it returned an error, which Text names
	Ended    What = "ended"    // its context ended before it returned; Text is the cause
	Settled  What = "settled"  // the broker has taken the outcome; Text is the verdict
	Refused  What = "refused"  // the broker has not, because the lease was lost
	Effect   What = "effect"   // what the handler does outside, in the same sink for all
	Loss     What = "loss"     // the bus reports that messages may be lost; ID is empty, Text the report

	// Of who injects faults. Process is whom it befell; a fault that lasts ends with Healed.
	Killed    What = "killed"
	Paused    What = "paused"    // log it before SIGSTOP
	Resumed   What = "resumed"   // log it after SIGCONT
	Fault     What = "fault"     // of a server or the network, or of the process that is named; Text says what
	Healed    What = "healed"    // it is over; Text is that of the Fault
	Recovered What = "recovered" // things are as they should be again; Text says after what
)

// A Record is one thing that happened.
type Record struct {
	At          int64  `json:"at"` // nanoseconds of the monotonic clock
	Process     string `json:"p"`  // unique in the run: a process that is started again has another name
	What        What   `json:"w"`
	ID          string `json:"id,omitempty"` // of the event
	Key         string `json:"key,omitempty"`
	Attempt     int    `json:"a,omitempty"`
	Redelivered int    `json:"r,omitempty"`
	Text        string `json:"t,omitempty"`
}
