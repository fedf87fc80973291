package transport

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrClosed: the transport or the subscription was closed.
	ErrClosed = errors.New("transport: closed")
	// ErrLeaseLost: the delivery no longer belongs to this consumer; another has it, or will.
	ErrLeaseLost = errors.New("transport: lease lost")
	// ErrNoGroup: the topic has no such group.
	ErrNoGroup = errors.New("transport: no such group")
	// ErrRefused: the broker will never take this settlement, as one that stages what cannot be stored. The delivery can be
	// settled otherwise.
	ErrRefused = errors.New("transport: refused")
	// ErrPublishUnknown: the message may or may not be stored, because the broker's answer did not come.
	ErrPublishUnknown = errors.New("transport: publish outcome unknown")
	// ErrNoLetter: the group has no dead letter with that id: it was replayed, discarded or removed by the bound.
	ErrNoLetter = errors.New("transport: no such dead letter")
	// ErrNoRoom: the broker is full and stores nothing until there is room again. Publish less, or wait.
	ErrNoRoom = errors.New("transport: the broker is full")
)

// An Outcome is what became of one published message.
type Outcome uint8

const (
	// NotStored: the message is not stored and will not be.
	NotStored Outcome = iota
	// Stored: the message is stored.
	Stored
	// Unknown: the broker was asked and did not answer. Publishing again may store it twice.
	Unknown
)

func (o Outcome) String() string {
	return [...]string{"not stored", "stored", "outcome unknown"}[min(o, Unknown)]
}

// A PublishError tells what became of each message of a Publish that did not store them all, or not on as many servers as asked. It wraps its cause, and
// [ErrPublishUnknown] if an outcome is Unknown.
type PublishError struct {
	Topic    string
	Outcomes []Outcome // by index of the message
	Err      error     // the first cause
}

func (e *PublishError) Error() string {
	if len(e.Outcomes) == 1 {
		return fmt.Sprintf("publish %s: %v: %v", e.Topic, e.Outcomes[0], e.Err)
	}
	var n [3]int
	for _, o := range e.Outcomes {
		n[min(o, Unknown)]++
	}
	return fmt.Sprintf("publish %s: %d stored, %d not stored, %d unknown: %v", e.Topic, n[Stored], n[NotStored], n[Unknown], e.Err)
}

func (e *PublishError) Unwrap() []error {
	for _, o := range e.Outcomes {
		if o == Unknown {
			return []error{e.Err, ErrPublishUnknown}
		}
	}
	return []error{e.Err}
}

// A DurabilityError says that what was published to a [Topic] with Durable is stored, and that it is not known to be as durable as
// asked: a failover now, or with OnDisk a crash, could lose it. It may be so a moment later.
type DurabilityError struct {
	Want, Have int           // replicas
	OnDisk     bool          // they, and the server that stored it, were to have it on disk
	Flushed    bool          // the server that stored it has it on disk; only known with OnDisk
	Timeout    time.Duration // how long they were waited for
	Err        error         // why it is not known how many have it; nil if it is
}

func (e *DurabilityError) Error() string {
	switch {
	case e.Err != nil && e.OnDisk:
		return fmt.Sprintf("it is not known whether it is on disk: %v", e.Err)
	case e.Err != nil:
		return fmt.Sprintf("it is not known whether %d replicas have it: %v", e.Want, e.Err)
	case e.OnDisk && !e.Flushed:
		return fmt.Sprintf("after %v it is not on the disk of the server that stored it (and on that of %d of %d replicas), so a crash now could lose it: "+
			"allow more time (with appendfsync everysec a second or two), or see whether its disk is slow", e.Timeout, e.Have, e.Want)
	case e.OnDisk:
		return fmt.Sprintf("%d of %d replicas have it on disk after %v: see whether the replicas are connected and have appendonly yes",
			e.Have, e.Want, e.Timeout)
	}
	return fmt.Sprintf("%d of %d replicas have it after %v, so a failover now could lose it: see whether the replicas are connected",
		e.Have, e.Want, e.Timeout)
}

func (e *DurabilityError) Unwrap() error { return e.Err }

// A SettleError tells which settlements did not happen.
type SettleError struct {
	Errs []error // by index of the settlement; nil where the delivery is ended
}

func (e *SettleError) Error() string {
	n, first := 0, error(nil)
	for _, err := range e.Errs {
		if err == nil {
			continue
		}
		if n++; first == nil {
			first = err
		}
	}
	return fmt.Sprintf("settle: %d of %d not ended: %v", n, len(e.Errs), first)
}

func (e *SettleError) Unwrap() []error {
	var errs []error
	for _, err := range e.Errs {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// A LossError says that the broker lost messages of a group, or may have: it was flushed, restarted without its data, failed
// over to an older copy, or trimmed what was not handled yet; or that the bound of a group's dead letters has removed some. The
// subscription goes on by itself.
type LossError struct {
	Topic, Group string
	What         string // in words: what was noticed, and where the group goes on
	Count        int64  // messages known to be lost; 0 if it cannot be told
	From, To     string // the range of positions concerned, in the transport's own form; may be empty
	Letters      bool   // not messages but dead letters, which the bound of [Group.Letters] has removed
}

func (e *LossError) Error() string {
	noun, headline := "messages", "data loss suspected"
	if e.Letters {
		noun, headline = "letters", "dead letters removed"
	}
	s := fmt.Sprintf(headline+": topic %s, group %s: %s", e.Topic, e.Group, e.What)
	if e.Count > 0 {
		s += fmt.Sprintf(": %d %s", e.Count, noun)
	}
	if e.From != "" {
		s += fmt.Sprintf(" (positions %s to %s)", e.From, e.To)
	}
	return s
}
