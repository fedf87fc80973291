package middleware

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// ErrOpen is what a [Breaker] answers with while it tries nothing.
var ErrOpen = errors.New("the breaker is open")

// BreakerOptions are the settings of a [Breaker].
type BreakerOptions struct {
	// Name is that of the dependency, for texts and OnChange; default "dependency".
	Name string
	// Failures is how many failures in a row open the breaker; default 5. All but the last count an attempt of their event: so
	// many attempts an outage costs, each process its own. The last one does not; if Failures is 1 it does.
	Failures int
	// Open is how long nothing is tried, and then between probes; default 10s.
	Open time.Duration
	// Probes is how many successful probes close the breaker, and how many run at the same time; default 1.
	Probes int
	// Patience is how long after opening a failed probe counts no attempt; default 1h. It bounds how long an event that always
	// fails, and is alone in its topic, looks like an outage.
	Patience time.Duration
	// IsFailure tells which errors of a handler or a Send are the dependency's fault; default all. It is asked about plain failures
	// and about [bus.Pause]; what it says false to counts neither as a failure nor as a success.
	IsFailure func(error) bool
	// OnChange is called when the state changes; states are those of [Breaker.State]. It must return soon, and not call the breaker.
	OnChange func(name, from, to string)
}

// A Breaker stops asking a dependency that is down, and with it receiving the events that need it. It is made once for each
// dependency and process, by [NewBreaker]; [Breaker.Handle] and [Breaker.Send] share its state. Its methods may be called
// concurrently.
//
// Closed, it lets everything through and counts failures in a row. Open, it lets nothing through: handling answers with
// [bus.Pause] until a probe is due, so that the subscription stops receiving and its events keep their attempts. Then it is half
// open: the subscription receives one event, the probe. A probe that fails opens it again and costs no attempt, one that ends
// well closes it. A failure of what was running when it opened costs no attempt either.
//
// Failures are errors without a mark, [bus.Pause], and panics. [bus.Snooze], [bus.Permanent] and [bus.DeadLetter] speak of the
// event and not of the dependency: they are neither failure nor success, and leave a probe to the next event. So is what is cut
// short by the drain, a lost lease or a caller that gives up; a deadline that has passed is a failure.
//
// A breaker cannot tell an event that always fails from an outage while no other event succeeds. Mark what is the event's fault as
// [bus.Permanent], or tell them apart with IsFailure; see also Patience. Put a [Timeout] inside it: a probe that hangs
// holds up the others.
type Breaker struct {
	o     BreakerOptions
	steps *gobreaker.TwoStepCircuitBreaker[struct{}]
	state atomic.Int32 // as the latest change said; a gobreaker.State

	mu    sync.Mutex
	until time.Time // when a probe is due
	since time.Time // when it opened after it had been closed
	owes  bool      // the failure that opened it counts an attempt
}

// NewBreaker makes a closed breaker.
func NewBreaker(o BreakerOptions) *Breaker {
	o.Name = cmp.Or(o.Name, "dependency")
	o.Failures = positive(o.Failures, 5)
	o.Open = positive(o.Open, 10*time.Second)
	o.Probes = positive(o.Probes, 1)
	o.Patience = positive(o.Patience, time.Hour)
	b := &Breaker{o: o}
	b.steps = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:          o.Name,
		MaxRequests:   uint32(o.Probes),
		Timeout:       o.Open,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return int64(c.ConsecutiveFailures) >= int64(o.Failures) },
		OnStateChange: b.changed,
		IsExcluded:    func(err error) bool { return err == errNothingSaid },
	})
	return b
}

// positive is n, or the default if n is none.
func positive[N int | float64 | time.Duration](n, otherwise N) N {
	if n > 0 {
		return n
	}
	return otherwise
}

// Name returns the name of the dependency.
func (b *Breaker) Name() string { return b.o.Name }

// State returns "closed", "open" or "half-open".
func (b *Breaker) State() string { return b.steps.State().String() }

// Handle is the [bus.Middleware]. It stands outside [Retry], so that a delivery counts once.
func (b *Breaker) Handle(next bus.Handler) bus.Handler {
	return bus.Describe(bus.Layer{Name: "middleware.Breaker", Knobs: b.knobs()}, b.around)(next)
}

func (b *Breaker) knobs() string {
	return fmt.Sprintf("%s: open after %d failures in a row, a probe every %v, closed after %d", b.o.Name, b.o.Failures, b.o.Open, b.o.Probes)
}

func (b *Breaker) around(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		return b.try(ctx, func() error { return next(b.asProbe(ctx), d) })
	}
}

// Send is the [bus.SendMiddleware]. Open, it returns an error that wraps [ErrOpen], and sends nothing; a handler that returns
// this error pauses its subscription, as with Handle. An error that opens the breaker is passed on and pauses likewise.
//
// Around a handler and around what it publishes, a breaker counts the same failure twice. What is published through an event
// is only staged: that passes, open or closed, and counts for nothing.
func (b *Breaker) Send(next bus.Sender) bus.Sender {
	return func(ctx context.Context, t transport.Topic, ms []*bus.Message) error {
		if bus.Staging(ctx) || b.isProbe(ctx) { // nothing is sent yet; or the outcome of the probe decides
			return next(ctx, t, ms)
		}
		return b.try(ctx, func() error { return next(ctx, t, ms) })
	}
}

// try calls f if the breaker lets it.
func (b *Breaker) try(ctx context.Context, f func() error) error {
	done, err := b.steps.Allow()
	if err != nil {
		return b.refusal(nil)
	}
	said, err := b.hear(ctx, f, done)
	if said != errFailed || bus.VerdictOf(err).Kind != bus.Failed {
		return err
	}
	return b.spare(err)
}

// hear calls f and gives its place in the breaker back, however f ends.
func (b *Breaker) hear(ctx context.Context, f func() error, done func(error)) (said, err error) {
	err = errUnwound // unless f returns
	defer func() {
		said = errFailed // if IsFailure panics
		defer func() { done(said) }()
		said = b.opinion(ctx, err)
	}()
	err = f()
	return said, err
}

// What an outcome says of the dependency; nil is a success.
var (
	errFailed      = errors.New("a failure")
	errNothingSaid = errors.New("neither a failure nor a success")
	errUnwound     = errors.New("a panic, or the end of the goroutine")
)

// opinion is what err says of the dependency.
func (b *Breaker) opinion(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return errNothingSaid
	}
	if k := bus.VerdictOf(err).Kind; k != bus.Failed && k != bus.Paused {
		return errNothingSaid
	}
	if b.o.IsFailure != nil && !b.o.IsFailure(err) {
		return errNothingSaid
	}
	return errFailed
}

// spare lets a failure cost no attempt if it opened the breaker, or the breaker is open by now.
func (b *Breaker) spare(err error) error {
	if b.closed() {
		return err
	}
	b.mu.Lock()
	pays := b.owes || time.Since(b.since) >= b.o.Patience
	b.owes = false
	b.mu.Unlock()
	if pays {
		return err
	}
	return b.refusal(err)
}

func (b *Breaker) closed() bool { return gobreaker.State(b.state.Load()) == gobreaker.StateClosed }

// changed is called by the state machine, which holds its lock.
func (b *Breaker) changed(_ string, from, to gobreaker.State) {
	b.state.Store(int32(to))
	if to == gobreaker.StateOpen {
		b.opened(from)
	}
	if b.o.OnChange != nil {
		b.o.OnChange(b.o.Name, from.String(), to.String())
	}
}

func (b *Breaker) opened(from gobreaker.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.until = now.Add(b.o.Open + time.Nanosecond) // it half opens when Open is over, not when it ends
	if from == gobreaker.StateClosed {
		b.since, b.owes = now, b.o.Failures == 1
	}
}

// busyPause is how long to wait while others probe.
const busyPause = time.Second

// refusal is the answer of a breaker that is not closed, to a failure or, if that is nil, to what is not tried.
func (b *Breaker) refusal(failure error) error {
	b.mu.Lock()
	wait := time.Until(b.until)
	b.mu.Unlock()
	if wait <= 0 { // half open, and others probe
		wait = min(busyPause, b.o.Open/10)
	}
	return &openError{of: b, wait: wait, failure: failure}
}

type probeKey struct{}

// asProbe marks the context of a probe: what it sends through the same breaker needs no place of its own.
func (b *Breaker) asProbe(ctx context.Context) context.Context {
	if b.closed() {
		return ctx
	}
	return context.WithValue(ctx, probeKey{}, b)
}

func (b *Breaker) isProbe(ctx context.Context) bool { return !b.closed() && ctx.Value(probeKey{}) == b }

// openError is a Pause whose text makes sense to publishers too.
type openError struct {
	of      *Breaker
	wait    time.Duration
	failure error // nil: nothing was tried. It carries no verdict
}

func (e *openError) Error() string {
	wait := e.wait.Round(time.Millisecond)
	if e.failure != nil {
		return fmt.Sprintf("%v (the breaker of %s is open for %v)", e.failure, e.of.o.Name, wait)
	}
	return fmt.Sprintf("middleware: the breaker of %s is open: nothing is tried for another %v", e.of.o.Name, wait)
}

// Unwrap tells the verdict first. The failure stays to be matched: it carries none that could show through.
func (e *openError) Unwrap() []error {
	if e.failure != nil {
		return []error{bus.Pause(e.wait, ErrOpen), e.failure}
	}
	return []error{bus.Pause(e.wait, ErrOpen)}
}
