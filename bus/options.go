package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// An Option is a setting of a [Bus].
type Option interface{ applyBus(*options) }

// A TopicOption is a setting of a [Topic].
type TopicOption interface{ applyTopic(*topicOptions) }

// A SubscribeOption is a setting of one subscription.
type SubscribeOption interface{ applySubscribe(*subscribeOptions) }

type (
	option          func(*options)
	topicOption     func(*topicOptions)
	subscribeOption func(*subscribeOptions)
)

func (f option) applyBus(o *options)                         { f(o) }
func (f topicOption) applyTopic(o *topicOptions)             { f(o) }
func (f subscribeOption) applySubscribe(o *subscribeOptions) { f(o) }

type options struct {
	log   *slog.Logger
	grace time.Duration
	use   []Middleware
	send  []SendMiddleware
	errs  []error

	onLoss []func(*transport.LossError)
}

type topicOptions struct {
	maxBytes  int
	retention transport.Retention
	dedup     time.Duration
	durable   transport.Durability
	err       error
}

type subscribeOptions struct {
	concurrency   int
	prefetch      int // -1: adaptive
	backoff       Backoff
	start         transport.Start
	letters       transport.LetterBound
	lease         time.Duration
	maxProcessing time.Duration // 0: no limit
	use           []Middleware
	errs          []error
}

// Logger says where the bus logs; default [slog.Default]. Payloads never show in the log, texts of handlers' errors do.
func Logger(l *slog.Logger) Option { return option(func(o *options) { o.log = l }) }

// Grace is how long a drain waits for handlers before it cuts their contexts; default 20s, which leaves room to settle
// within the 30s that Kubernetes gives a process to end.
func Grace(d time.Duration) Option {
	return option(func(o *options) {
		if d < 0 {
			o.errs = append(o.errs, fmt.Errorf("bus: Grace(%v): must not be negative", d))
		}
		o.grace = d
	})
}

// Chain is what [Use] returns: as an [Option] it holds for all subscriptions of a bus, as a [SubscribeOption] for one, inside
// those of the bus.
type Chain struct{ mws []Middleware }

// Use wraps handlers in middleware; the first is the outermost. See [Chain].
func Use(mws ...Middleware) Chain { return Chain{mws} }

// Wrap puts the chain around a handler, as a bus does, to test middleware without one.
func (c Chain) Wrap(h Handler) Handler { return wrap(h, c.mws) }

func (c Chain) applyBus(o *options)                { o.use, o.errs = c.appendTo(o.use, o.errs, "bus: ") }
func (c Chain) applySubscribe(o *subscribeOptions) { o.use, o.errs = c.appendTo(o.use, o.errs, "") }

func (c Chain) appendTo(mws []Middleware, errs []error, prefix string) ([]Middleware, []error) {
	for i, mw := range c.mws {
		if mw == nil {
			errs = append(errs, fmt.Errorf("%sUse: middleware %d of %d is nil: some are if they were made without what they need, as a store", prefix, i+1, len(c.mws)))
			continue
		}
		mws = append(mws, mw)
	}
	return mws, errs
}

// UseSend wraps everything published through the bus and through its events; the first is the outermost.
func UseSend(mws ...SendMiddleware) Option {
	return option(func(o *options) {
		for i, mw := range mws {
			if mw == nil {
				o.errs = append(o.errs, fmt.Errorf("bus: UseSend: middleware %d of %d is nil", i+1, len(mws)))
				continue
			}
			o.send = append(o.send, mw)
		}
	})
}

// MaxBytes is the largest body of a topic, checked when publishing and before decoding; default [DefaultMaxBytes].
func MaxBytes(n int) TopicOption {
	return topicOption(func(o *topicOptions) {
		if n < 1 {
			o.err = errors.Join(o.err, fmt.Errorf("MaxBytes(%d): must be at least 1", n))
		}
		o.maxBytes = n
	})
}

// Retention says how much a topic keeps, see [Retain].
type Retention = transport.Retention

// Retain says how much of a topic is kept; default the newest 1,000,000 events, and never less than what a group has not
// handled yet.
//
// With AbandonAfter, at least a minute (hours or days are usual), a group that nobody has read for so long is not waited for any
// more: what it then loses is logged, and told to it when a consumer comes back. It must be longer than all consumers of a group
// may be away, as in a deployment. It goes with a soft bound only, by MaxLen or MaxAge.
func Retain(r Retention) TopicOption {
	return topicOption(func(o *topicOptions) {
		switch {
		case r.AbandonAfter != 0 && r.AbandonAfter < minAbandonAfter:
			o.err = errors.Join(o.err, fmt.Errorf("Retain(Retention{AbandonAfter: %v}): must be at least %v, or 0 to wait for every group: "+
				"a group is without consumers for a while whenever they restart", r.AbandonAfter, minAbandonAfter))
		case r.AbandonAfter != 0 && r.Hard:
			o.err = errors.Join(o.err, errors.New("Retain(Retention{Hard: true, AbandonAfter: ...}): a hard bound waits for no group: leave one out"))
		case r.AbandonAfter != 0 && boundless(r):
			o.err = errors.Join(o.err, errors.New("Retain(Retention{AbandonAfter: ...}): a negative MaxLen without a MaxAge bounds nothing, "+
				"so no group is in its way: give a MaxLen or a MaxAge, or leave AbandonAfter out"))
		}
		o.retention = r
	})
}

func boundless(r Retention) bool {
	maxLen, maxAge := r.Limits()
	return maxLen == 0 && maxAge == 0
}

// minAbandonAfter is more than a consumer that lives may seem idle: two leases, and several looks at the groups.
const minAbandonAfter = time.Minute

// Dedup makes the topic know the ids of what is published to it for a time, at least a second: an event whose id it knows is not
// stored again, and Publish returns nil for it. An event has an id of its own unless [ID] gives one; so events that come from
// outside twice are one if their id is taken from there.
//
// With it the bus repeats by itself what has an unknown outcome (see [ErrPublishUnknown]) or was not sent because the connection
// broke or the broker stood still, and nothing is doubled: after 50 ms at first, then longer, up to a second, until it is
// stored, ctx ends, the transport is closed, or half of the window or 30 s are over, whichever is less (30 s count only where
// ctx has no deadline). The window should be much longer than Redis, or the way to it, may stand still: a try that arrives when
// its window is over is stored again. Minutes are usual. On Redis each id is a small key for as long.
//
// What is published through an event is stored once in any case, and is not looked up, even with [ID].
func Dedup(window time.Duration) TopicOption {
	return topicOption(func(o *topicOptions) {
		if window < time.Second {
			o.err = errors.Join(o.err, fmt.Errorf("Dedup(%v): must be at least 1s", window))
		}
		o.dedup = window
	})
}

// Durable has Publish wait until at least so many replicas have the event, at least 1, so that a failover does not lose it; at most
// for timeout, at least a millisecond. If fewer have it by then the event is stored all the same, and the error wraps a
// *transport.DurabilityError that says how many; do not publish it again. It is not proof against everything: a replica without
// the event may be promoted where there are more replicas than were asked for. Each publish takes the way to the replicas
// and back longer; other topics do not. It concerns what is published at once, not through an event. In memory there are
// no replicas, and it is ignored. A topic is this or [DurableOnDisk].
func Durable(replicas int, timeout time.Duration) TopicOption {
	return topicOption(func(o *topicOptions) {
		if replicas < 1 || timeout < time.Millisecond {
			o.err = errors.Join(o.err, fmt.Errorf("Durable(%d, %v): must be at least 1 replica and 1ms", replicas, timeout))
		}
		o.setDurable(transport.Durability{Replicas: replicas, Timeout: timeout})
	})
}

// DurableOnDisk is [Durable] with disks: Publish waits until the server that stored the event, and at least so many replicas,
// which may be 0, have it on disk (WAITAOF), so that the death of their machines does not lose it. The server must be Redis 7.2
// or newer with appendonly yes; otherwise Publish stores nothing and says so. With appendfsync everysec a publish takes up to a
// second or more, so the timeout should be longer; with always it is short. The error tells what is missing, disk or replicas.
// In memory there are no disks, and it is ignored.
func DurableOnDisk(replicas int, timeout time.Duration) TopicOption {
	return topicOption(func(o *topicOptions) {
		if replicas < 0 || timeout < time.Millisecond {
			o.err = errors.Join(o.err, fmt.Errorf("DurableOnDisk(%d, %v): must be at least 0 replicas and 1ms", replicas, timeout))
		}
		o.setDurable(transport.Durability{Replicas: replicas, OnDisk: true, Timeout: timeout})
	})
}

// setDurable lets the last of several hold. One of each kind is refused: the last might promise less than the first.
func (o *topicOptions) setDurable(d transport.Durability) {
	if o.durable != (transport.Durability{}) && o.durable.OnDisk != d.OnDisk {
		o.err = errors.Join(o.err, errors.New("Durable and DurableOnDisk: give one of them: DurableOnDisk waits for replicas too, by its number"))
	}
	o.durable = d
}

// Concurrency is how many events of the subscription are handled at the same time; default 16. With 1 they are handled one
// after the other, in the order in which they come.
func Concurrency(n int) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) {
		o.concurrency = n
		o.atLeast("Concurrency", n, 1)
	})
}

// Prefetch is how many events wait in memory, leased, beyond those being handled. By default it adapts to the handler:
// about a second of work, and never more than 1,000, so that fast handlers get large reads and slow ones do not hoard what
// another consumer could do.
func Prefetch(n int) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) {
		o.prefetch = n
		o.atLeast("Prefetch", n, 0)
	})
}

// Redeliver is how long failed events wait; default the zero [Backoff]. They hold no slot meanwhile. There is no last attempt:
// an event that fails for ever comes back for ever, unless middleware or the handler answers with [DeadLetter].
func Redeliver(b Backoff) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) {
		o.backoff = b
		if b.Min < 0 || b.Max < 0 || b.Max > 0 && b.Max < b.Min {
			o.errs = append(o.errs, fmt.Errorf("Redeliver(Backoff{Min: %v, Max: %v}): must not be negative, and Max not below Min", b.Min, b.Max))
		}
	})
}

// A Position is where a new group begins: [Earliest], [Latest], [At] or [From].
type Position interface {
	position() (transport.Start, error)
}

type position func() (transport.Start, error)

func (p position) position() (transport.Start, error) { return p() }

func (a Moment) position() (transport.Start, error) {
	if a.t.IsZero() {
		return transport.Start{}, errors.New("Start(At(zero time)): use Earliest if the beginning is meant")
	}
	return transport.Start{Time: a.t}, nil
}

var (
	// Earliest is the oldest event that the topic still has.
	Earliest Position = position(func() (transport.Start, error) { return transport.Start{}, nil })
	// Latest is the first event published after the group was made.
	Latest Position = position(func() (transport.Start, error) { return transport.Start{Latest: true}, nil })
)

// From is the event at a position in the transport's own form, and what follows; on Redis an entry id, as
// "1526919030474-55".
func From(id string) Position {
	return position(func() (transport.Start, error) {
		if id == "" {
			return transport.Start{}, errors.New("Start(From(\"\")): use Earliest if the beginning is meant")
		}
		return transport.Start{ID: id}, nil
	})
}

// Start is where the group begins if the topic does not have it yet; default [Earliest]. A group that exists goes on where it
// stood.
func Start(p Position) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) {
		if p == nil {
			o.errs = append(o.errs, errors.New("Start(nil): use Earliest, Latest, At or From"))
			return
		}
		start, err := p.position()
		if err != nil {
			o.errs = append(o.errs, err)
		}
		o.start = start
	})
}

// Lease is how long the events of a consumer that died wait for another; default 30s. Handlers may take longer: leases are
// renewed while the process lives. All consumers of a group should use the same.
func Lease(d time.Duration) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) {
		o.lease = d
		o.longEnough("Lease", d, 100*time.Millisecond)
	})
}

// MaxProcessing is how long a handler may take; default no limit. Then its context ends. If it has not returned one lease
// later the event is given back as failed; the handler's slot stays taken until it returns.
func MaxProcessing(d time.Duration) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) {
		o.maxProcessing = d
		o.longEnough("MaxProcessing", d, time.Millisecond)
	})
}

// RetainLetters bounds the group's dead letters by number and age; default the newest 1,000,000 of any age. What the bound
// removes is logged and counted ([transport.Lag] LettersDropped).
func RetainLetters(b transport.LetterBound) SubscribeOption {
	return subscribeOption(func(o *subscribeOptions) { o.letters = b })
}

func (o *subscribeOptions) atLeast(name string, n, least int) {
	if n < least {
		o.errs = append(o.errs, fmt.Errorf("%s(%d): must be at least %d", name, n, least))
	}
}

func (o *subscribeOptions) longEnough(name string, d, least time.Duration) {
	if d < least {
		o.errs = append(o.errs, fmt.Errorf("%s(%v): must be at least %v", name, d, least))
	}
}
