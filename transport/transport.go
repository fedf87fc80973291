package transport

import (
	"context"
	"time"
)

// A Transport stores messages and hands them to the groups of their topic. All methods may be called concurrently.
type Transport interface {
	// Publish stores ms in order and returns nil when all of them are stored.
	//
	// Otherwise it returns a [*PublishError] that tells, message by message, whether it is stored, not stored, or unknown.
	// A message whose outcome is stored or not stored is exactly that; Publish never repeats one by itself.
	// A message with NotBefore in the future is stored at once and delivered when its time has come, never earlier.
	// Publish does not keep ms, nor anything they point to, after it has returned: the caller may change them.
	// After Close it returns an error that wraps [ErrClosed], and stores nothing.
	Publish(ctx context.Context, t Topic, ms []*Message) error

	// Subscribe joins g, which it creates at g.Start if the topic does not have it yet.
	//
	// A group that exists goes on where it stood, whatever g.Start says. Several subscriptions of one group, in this process
	// or others, share its messages. The topic need not exist. ctx bounds the call, not the subscription.
	// After Close it returns an error that wraps [ErrClosed].
	Subscribe(ctx context.Context, t Topic, g Group) (Subscription, error)

	// Close stops everything the transport started, and waits for it. It never closes a client that it was given.
	// Subscriptions still open are closed. Closing twice is no error.
	Close() error
}

// A Subscription is one consumer of a group. All methods may be called concurrently, but only one Receive at a time.
type Subscription interface {
	// Receive waits for at least one delivery and returns at most limit of them (at least 1).
	//
	// What it returned is leased to this consumer, and the transport keeps the lease alive, until it is settled, the
	// subscription is closed, or the lease is lost. No other consumer of the group has the message meanwhile.
	// When ctx ends Receive returns soon: either deliveries and nil, or no delivery and the context's error. Nothing that
	// was leased is forgotten because ctx ended.
	// An error other than the context's or [ErrClosed] passes: the caller waits a little and calls again. While the broker
	// is away Receive returns such an error instead of trying for ever, and it works again when the broker is back.
	// After Close it returns [ErrClosed].
	Receive(ctx context.Context, limit int) ([]*Delivery, error)

	// Settle ends deliveries, each as its [Verdict] says, and returns nil when all of them are ended.
	//
	// Otherwise it returns a [*SettleError] that tells which are not ended and why; those stay leased and may be settled
	// again. Settling what is settled is no error. A settlement whose lease was lost is refused with [ErrLeaseLost], and
	// changes nothing, except a Done that stages nothing: its work is done, so it ends the message for everybody.
	// A settlement happens whole or not at all, with all that it stages.
	Settle(ctx context.Context, ss []Settlement) error

	// Close releases what was received and not settled: other consumers get it at once, with Attempt and Redelivered as they
	// were. It then leaves the group. Receive calls under way return. Closing twice is no error. If the broker cannot be
	// reached Close returns an error, and the leases run out by themselves.
	Close(ctx context.Context) error
}

// The optional powers of a transport or subscription, found by assertion. There are four; a fifth would be one too many.

// A Lagger is a [Transport] that can tell how far a group is behind.
type Lagger interface {
	// Lag looks at a group. The group of a topic nobody has subscribed to has an error that wraps [ErrNoGroup].
	Lag(ctx context.Context, t Topic, group string) (Lag, error)
}

// A Pulse is a [Subscription] that can tell when it last heard from its broker, so that a stuck read loop shows.
type Pulse interface {
	// LastRoundTrip is when the broker last answered a read of this subscription, by the local clock. An idle subscription
	// hears from its broker at least every ten seconds. It is the zero time before the first answer.
	LastRoundTrip() time.Time
}

// DeadLetters is a [Transport] whose dead letters can be looked at and sent back.
type DeadLetters interface {
	// Letters returns up to limit letters of a group, oldest first, that come after the letter with the id after ("" for the
	// first page). Fewer than limit letters mean that there are no more.
	Letters(ctx context.Context, t Topic, group, after string, limit int) ([]*Letter, error)
	// CountLetters returns how many letters a group has.
	CountLetters(ctx context.Context, t Topic, group string) (int64, error)
	// Replay hands letters to the group that failed, and to no other, as new deliveries with Attempt 1, Redelivered 0 and
	// Replays one higher, and removes them, letter by letter in one step each. It returns how many; ids that do not exist are
	// passed over, so that calling it again is safe.
	Replay(ctx context.Context, t Topic, group string, ids ...string) (int, error)
	// Discard removes letters for good and returns how many. Ids that do not exist are passed over.
	Discard(ctx context.Context, t Topic, group string, ids ...string) (int, error)
}

// LetterArchive is a [DeadLetters] whose letters can also be written, and what is done with them kept on record. The group
// need not exist yet: it has, once it is made, what was stored for it.
type LetterArchive interface {
	// Letter returns one letter. One that does not exist has an error that wraps [ErrNoLetter].
	Letter(ctx context.Context, t Topic, group, id string) (*Letter, error)
	// PutLetter stores l as the newest letter of the group, in one step with the removal of the letter with the id replaces,
	// and returns the id of the new one. If replaces is "" nothing is removed; if there is no such letter nothing is stored and
	// the error wraps [ErrNoLetter]. It stores all of l but LetterID, with its Time and Died, and keeps nothing that l points to.
	// A Time or Died that is zero becomes now, by the broker's clock.
	PutLetter(ctx context.Context, t Topic, group string, l *Letter, replaces string) (string, error)
	// RecordAct appends a to the record of the group, with an ActID and a Time of its own: it ignores those of a. The newest
	// 10,000 acts are kept at least.
	RecordAct(ctx context.Context, t Topic, group string, a Act) error
	// Acts returns up to limit acts of a group, oldest first, that come after the act with the id after ("" for the first page).
	Acts(ctx context.Context, t Topic, group, after string, limit int) ([]Act, error)
}
