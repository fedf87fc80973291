package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// A Verdict is what a handler's return value asks for, taken apart for middleware; see [VerdictOf].
type Verdict struct {
	Kind   VerdictKind
	After  time.Duration // of Snoozed and Paused
	Reason string        // of DeadLettered
	Err    error         // what the verdict wraps; of Failed the error itself; may be nil
}

// VerdictKind is the kind of a [Verdict].
type VerdictKind uint8

const (
	// Handled: nil was returned.
	Handled VerdictKind = iota
	// Failed: an error with no mark was returned; an attempt is counted.
	Failed
	// Snoozed: see [Snooze].
	Snoozed
	// Paused: see [Pause].
	Paused
	// PermanentlyFailed: see [Permanent].
	PermanentlyFailed
	// DeadLettered: see [DeadLetter].
	DeadLettered
)

func (k VerdictKind) String() string {
	return [...]string{"handled", "failed", "snoozed", "paused", "permanently failed", "dead-lettered"}[min(k, DeadLettered)]
}

// VerdictOf tells what a handler's return value asks for. The outermost mark of an error tree counts, as it does for the bus.
//
// A middleware that changes the verdict must quote the old error with %v and not wrap it, or the old mark shows through.
func VerdictOf(err error) Verdict {
	if err == nil {
		return Verdict{}
	}
	if v := new(verdictError); errors.As(err, &v) {
		return v.Verdict
	}
	return Verdict{Kind: Failed, Err: err}
}

// CutShort says whether a handler's context was ended by the engine because the event is no longer its: the drain's grace is
// over, or the lease was lost. What it returns then says nothing about the event or its dependencies: middleware should not
// count it.
func CutShort(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return cause == ErrDraining || cause == ErrLeaseLost
}

// verdictError marks an error with what shall happen.
type verdictError struct{ Verdict }

func (e *verdictError) Error() string {
	var s string
	switch e.Kind {
	case Snoozed:
		s = fmt.Sprintf("snoozed for %v", e.After)
	case Paused:
		s = fmt.Sprintf("paused for %v", e.After)
	case PermanentlyFailed:
		return e.Err.Error()
	case DeadLettered:
		s = "dead letter: " + e.Reason
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *verdictError) Unwrap() error { return e.Err }

// Snooze says "not this event now": it is delivered again after d, and no attempt is counted. err, which may be nil, says why.
func Snooze(d time.Duration, err error) error {
	return &verdictError{Verdict{Kind: Snoozed, After: d, Err: err}}
}

// Pause says "nothing of this subscription now", because what it depends on is down: the event is put back with no attempt
// counted, the subscription stops receiving for d, and then probes with one event. err, which may be nil, says why.
func Pause(d time.Duration, err error) error {
	return &verdictError{Verdict{Kind: Paused, After: d, Err: err}}
}

// Permanent says that trying again is useless. A dead-letter route takes the event; without one it is kept, logged at Error
// level, and tried again at the longest back-off: nothing is ever dropped silently. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &verdictError{Verdict{Kind: PermanentlyFailed, Err: err}}
}

// DeadLetter moves the event to the group's dead letters, together with its acknowledgement. reason is one word for
// statistics, as "exhausted": up to 64 printable ASCII characters without spaces. Any other text becomes part of the error, and
// the reason is "other". err, which may be nil, says why.
func DeadLetter(reason string, err error) error {
	if len(reason) > maxReason || !transport.ValidHeaderName(reason) {
		err = because(reason, err)
		reason = "other"
	}
	return &verdictError{Verdict{Kind: DeadLettered, Reason: reason, Err: err}}
}

const maxReason = 64

// because puts what is no reason before the error.
func because(text string, err error) error {
	switch {
	case text == "":
		return err
	case err == nil:
		return errors.New(text)
	}
	return fmt.Errorf("%s: %w", text, err)
}
