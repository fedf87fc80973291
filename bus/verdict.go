package bus

import (
	"errors"
	"fmt"
	"time"
)

// verdictKind is what a handler's return value asks for, beyond nil and a plain error.
type verdictKind uint8

const (
	verdictSnooze verdictKind = iota + 1
	verdictPause
	verdictPermanent
	verdictDeadLetter
)

// verdictError marks an error with what shall happen. The outermost mark of an error tree counts.
type verdictError struct {
	kind   verdictKind
	after  time.Duration
	reason string
	err    error
}

func (e *verdictError) Error() string {
	var s string
	switch e.kind {
	case verdictSnooze:
		s = fmt.Sprintf("snoozed for %v", e.after)
	case verdictPause:
		s = fmt.Sprintf("paused for %v", e.after)
	case verdictPermanent:
		return e.err.Error()
	case verdictDeadLetter:
		s = "dead letter: " + e.reason
	}
	if e.err != nil {
		s += ": " + e.err.Error()
	}
	return s
}

func (e *verdictError) Unwrap() error { return e.err }

// Snooze says "not this event now": it is delivered again after d, and no attempt is counted. err, which may be nil, says why.
func Snooze(d time.Duration, err error) error {
	return &verdictError{kind: verdictSnooze, after: d, err: err}
}

// Pause says "nothing of this subscription now", because what it depends on is down: the event is put back with no attempt
// counted, the subscription stops receiving for d, and then probes with one event. err, which may be nil, says why.
func Pause(d time.Duration, err error) error {
	return &verdictError{kind: verdictPause, after: d, err: err}
}

// Permanent says that trying again is useless. A dead-letter route takes the event; without one it is kept, logged at Error
// level, and tried again at the longest back-off: nothing is ever dropped silently. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &verdictError{kind: verdictPermanent, err: err}
}

// DeadLetter moves the event to the group's dead letters, together with its acknowledgement. reason is one word for
// statistics, as "exhausted"; err, which may be nil, says why.
func DeadLetter(reason string, err error) error {
	return &verdictError{kind: verdictDeadLetter, reason: reason, err: err}
}

// verdictOf finds the outermost mark of an error; nil if there is none.
func verdictOf(err error) *verdictError {
	var v *verdictError
	errors.As(err, &v)
	return v
}
