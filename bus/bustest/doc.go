// Package bustest helps to test applications on package bus.
//
// A handler by itself needs no bus: [NewEvent] makes the event, and a [Recorder] keeps what the handler publishes.
//
// An application runs on transport/memory: [Start] runs its bus and ends it with the test, and [Settle] waits until everything
// is handled. Both are deterministic in a testing/synctest bubble, where an hour of back-off takes no time.
package bustest
