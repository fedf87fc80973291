package bus

import (
	"errors"

	"github.com/typedbus/typedbus/transport"
)

// A PublishError tells what became of each event of a Publish that did not store them all.
type PublishError = transport.PublishError

var (
	// ErrLeaseLost is the cause of a handler's context whose delivery no longer belongs to it: another consumer has it, or will.
	ErrLeaseLost = transport.ErrLeaseLost
	// ErrClosed: the transport under the bus was closed.
	ErrClosed = transport.ErrClosed
	// ErrPublishUnknown: the event may or may not be stored, because the broker's answer did not come.
	ErrPublishUnknown = transport.ErrPublishUnknown
	// ErrTooLarge: the encoded event is larger than its topic's MaxBytes.
	ErrTooLarge = errors.New("payload too large")
	// ErrUndecodable: the body is not what the topic's codec reads, or too large, or the entry is no message at all.
	ErrUndecodable = errors.New("undecodable")
	// ErrDraining is the cause of a handler's context that the drain cut short: the grace is over.
	ErrDraining = errors.New("bus: draining: the grace is over")
	// ErrNotRunning: Run has not been called, has not yet opened every subscription, or has returned.
	ErrNotRunning = errors.New("bus: not running")
)
