package transport

import (
	"fmt"
	"time"
)

// A Topic names a stream of messages and says how long it keeps them.
type Topic struct {
	Name      string // see [CheckName]
	Retention Retention

	// Dedup, if not 0, is how long the topic knows the ID of a message that was published with it. A message whose ID it knows is
	// not stored again, and its outcome is Stored. Neither retention, nor that it was handled, makes the topic forget an ID before
	// its time. Messages that NotBefore holds back are known as well. Afterwards the ID may be stored again. What is staged is
	// stored whatever its ID is.
	Dedup time.Duration

	// Durable, if it asks for any, has Publish wait until as many servers as it says have what it stored. Where they do not have it in time it is
	// stored all the same: the error is a [*PublishError] with the outcome Stored for each message that is, and wraps a
	// [*DurabilityError]. A broker that lives in one process has neither replicas nor disks, and ignores it.
	Durable Durability
}

// Durability is which servers must have what is published, and where.
type Durability struct {
	Replicas int           // besides the server that stored it; 0: none
	OnDisk   bool          // on the disks of the replicas and of the server that stored it, not only in memory
	Timeout  time.Duration // how long to wait for them; 0: a second
}

// Asked says whether there is anything to wait for.
func (d Durability) Asked() bool { return d.Replicas > 0 || d.OnDisk }

// TimeoutOrDefault is the timeout in force.
func (d Durability) TimeoutOrDefault() time.Duration {
	if d.Timeout > 0 {
		return d.Timeout
	}
	return time.Second
}

// DefaultMaxLen is how many acknowledged messages a topic keeps where its Retention says nothing.
const DefaultMaxLen = 1_000_000

// Retention says how much a topic keeps. The zero value keeps the newest [DefaultMaxLen] messages.
//
// A soft bound (Hard false) removes only what every group has acknowledged, so a topic can grow past it while a group is
// behind, and nothing is removed while the topic has no group. It is enforced from time to time, not at each publish.
// A hard bound is enforced when publishing and also removes what groups have not handled yet; that is counted and reported
// through [Group.Warn] as a [*LossError].
type Retention struct {
	MaxLen int64         // messages kept; 0: DefaultMaxLen, or no limit if MaxAge is set; negative: no limit
	MaxAge time.Duration // age of the oldest message kept; 0: no limit
	Hard   bool

	// AbandonAfter, if not 0, is for how long nobody must have read a group before a soft bound does not wait for it any more.
	// What that removes the group does not get; a consumer that comes back is told through [Group.Warn] as a [*LossError], and from
	// then on the bound waits for the group again. A group with a consumer is never given up, however slow it is. It happens some
	// time later than asked, since it is looked at from time to time. With 0 it waits for ever.
	AbandonAfter time.Duration
}

// Limits resolves the defaults: the messages kept and their age, each 0 for no limit.
func (r Retention) Limits() (maxLen int64, maxAge time.Duration) {
	switch {
	case r.MaxLen > 0:
		maxLen = r.MaxLen
	case r.MaxLen == 0 && r.MaxAge <= 0:
		maxLen = DefaultMaxLen
	}
	return maxLen, max(r.MaxAge, 0)
}

// DefaultLease is the lease of a group whose Lease is 0.
const DefaultLease = 30 * time.Second

// A Group is one reader of a topic, made of one or more consumers.
type Group struct {
	Name  string // see [CheckName]
	Start Start  // where the group begins if the topic does not have it yet; the zero value is Earliest

	// Lease is how long a delivery belongs to a consumer that gives no sign of life; 0 means DefaultLease. The transport
	// renews leases well before they end, so Lease bounds how long the messages of a dead consumer wait, not how long a
	// handler may take.
	Lease time.Duration

	// Letters bounds the group's dead letters. What is beyond the bound is removed from time to time, the oldest first, by
	// whoever subscribes to the group; it is counted in [Lag] and reported through Warn as a [*LossError].
	Letters LetterBound

	// Lost, if not nil, is called once for each delivery whose lease was lost, as soon as the transport knows. It must
	// return soon and must not call the subscription.
	Lost func(*Delivery)

	// Warn, if not nil, is called with what an operator should know and no call returns: a [*LossError], or that leases
	// cannot be renewed. It says so once per event, not once per try. It must return soon and must not call the subscription.
	Warn func(error)
}

// LetterBound says how many dead letters a group keeps, and for how long. The zero value keeps the newest [DefaultMaxLen].
type LetterBound struct {
	MaxLen int64         // letters kept; 0: DefaultMaxLen; negative: no limit
	MaxAge time.Duration // time since the message died; 0: no limit
}

// Limits resolves the defaults: the letters kept and their age, each 0 for no limit.
func (b LetterBound) Limits() (maxLen int64, maxAge time.Duration) {
	if b.MaxLen == 0 {
		return DefaultMaxLen, max(b.MaxAge, 0)
	}
	return max(b.MaxLen, 0), max(b.MaxAge, 0)
}

// LeaseOrDefault is the lease in force.
func (g Group) LeaseOrDefault() time.Duration {
	if g.Lease > 0 {
		return g.Lease
	}
	return DefaultLease
}

// Start is where a new group begins. The zero value is Earliest.
type Start struct {
	Latest bool      // only what is published after the group was made
	Time   time.Time // what was stored at this time or later
	ID     string    // this position, inclusive, in the transport's own form (on Redis an entry id, "1526919030474-55")
}

// CheckName says whether name may name a topic or a group: a letter or digit, then up to 127 letters, digits, dots,
// underscores and hyphens. kind ("topic", "group") goes into the error.
func CheckName(kind, name string) error {
	ok := name != "" && len(name) <= 128 && isAlnum(name[0])
	for i := 1; ok && i < len(name); i++ {
		ok = isAlnum(name[i]) || name[i] == '.' || name[i] == '_' || name[i] == '-'
	}
	if !ok {
		return fmt.Errorf("bad %s name %.140q: use a letter or digit, then up to 127 letters, digits, '.', '_' or '-'", kind, name)
	}
	return nil
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
