package bus

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// A subscription is the engine behind a Subscriber: a loop that receives, workers that handle, a loop that settles.
//
//	declared -> open -> draining -> closed
//
// What it received and has not settled is held: waiting in the queue, being handled, or waiting to be settled.
type subscription struct {
	bus     *Bus
	topic   transport.Topic
	group   string
	handler Handler // the whole chain

	contentType string // of the codec, for Explain

	opts subscribeOptions
	log  *slog.Logger
	err  error // what is wrong with the declaration; written before the bus has it

	draining chan struct{}  // closed when the drain begins
	closed   chan struct{}  // closed when the drain has ended
	opening  sync.WaitGroup // who may be about to open; the drain ends that and waits for them first
	received chan struct{}  // closed when the receive loop has ended
	wg       sync.WaitGroup

	mu      sync.Mutex // guards all below; never held across a call that can wait
	sub     transport.Subscription
	openErr error

	stopOpening context.CancelFunc // nil if nobody opens

	receiving context.Context    // ends with Run's context or the drain
	handling  context.Context    // root of the handlers' contexts, ends when the drain cuts them
	settling  context.Context    // ends when the drain gives up settling
	stop      context.CancelFunc // ends receiving
	cut       context.CancelCauseFunc
	giveUp    context.CancelFunc

	intake intake
	slots  slots
	outbox settlements
	pause  pause
	tally  tally

	lostLine, lateLine seldom // of leases that were lost while handling, and before settling
}

func newSubscription(b *Bus, t transport.Topic, group string, h Handler, o subscribeOptions) *subscription {
	s := &subscription{
		bus: b, topic: t, group: group, opts: o,
		log:      b.log.With("topic", t.Name, "group", group),
		draining: make(chan struct{}),
		closed:   make(chan struct{}),
		received: make(chan struct{}),
		lostLine: seldom{what: "lease lost while handling; another consumer has the event"},
		lateLine: seldom{what: "outcome refused, lease lost: another consumer has the event"},
	}
	s.handler = wrap(h, s.chain())
	s.intake.room = make(chan struct{}, 1)
	s.outbox.ready = make(chan struct{}, 1)
	s.slots.changed = make(chan struct{}, 1)
	return s
}

// chain is the middleware around the handler, outermost first.
func (s *subscription) chain() []Middleware { return slices.Concat(s.bus.opts.use, s.opts.use) }

func (s *subscription) name() string { return s.topic.Name + "/" + s.group }

// signal wakes the one who waits on a channel of capacity one, or leaves word for him.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// open joins the group and starts the loops.
func (s *subscription) open(r *run) error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	if !s.openingUntil(cancel) {
		return nil
	}
	sub, err := s.bus.tr.Subscribe(ctx, s.topic, transport.Group{
		Name: s.group, Start: s.opts.start, Lease: s.opts.lease, Letters: s.opts.letters, Lost: s.leaseLost, Warn: s.warn,
	})
	if err != nil {
		return fmt.Errorf("bus: subscribe %s: %w", s.name(), err)
	}
	if s.begin(r, sub) {
		return nil
	}
	leave, cancelLeave := context.WithTimeout(r.base, afterGrace)
	defer cancelLeave()
	return sub.Close(leave)
}

// begin starts the loops; false if the drain was faster.
func (s *subscription) begin(r *run, sub transport.Subscription) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isDraining() {
		return false
	}
	s.sub, s.openErr = sub, nil
	s.receiving, s.stop = context.WithCancel(r.ctx)
	s.handling, s.cut = context.WithCancelCause(context.WithValue(r.base, handledBy{}, s))
	s.settling, s.giveUp = context.WithCancel(r.base)
	s.wg.Go(func() {
		defer close(s.received)
		s.receive(r)
	})
	s.wg.Go(s.settle)
	return true
}

// handledBy is the key under which handlers' contexts have their subscription.
type handledBy struct{}

// openingUntil has the drain call cancel; false if it has begun already.
func (s *subscription) openingUntil(cancel context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopOpening = cancel
	return !s.isDraining()
}

// openWhileRunning opens in the background and tries until it succeeds: nobody waits for the error of a declaration.
func (s *subscription) openWhileRunning(r *run) {
	if !s.beginOpening() {
		return
	}
	go func() {
		defer s.opening.Done()
		t := trouble{what: "cannot open the subscription", log: s.log}
		for !s.isDraining() {
			err := s.open(r)
			if err == nil {
				t.over()
				return
			}
			s.mu.Lock()
			s.openErr = err
			s.mu.Unlock()
			if !t.wait(r.ctx, s.draining, err) {
				return
			}
		}
	}()
}

// beginOpening makes the drain wait until opening is done; false if the drain was first.
func (s *subscription) beginOpening() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isDraining() {
		return false
	}
	s.opening.Add(1)
	return true
}

func (s *subscription) declarationError() error {
	if s.err != nil {
		return s.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.openErr
}

func (s *subscription) isDraining() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}

// leaseLost takes word that a delivery belongs to another consumer: it is not begun, or its handler is told.
func (s *subscription) leaseLost(d *transport.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.intake.since.IsZero() { // it may be on its way here
		s.intake.lost = append(s.intake.lost, d.Receipt)
	}
	for t := range s.slots.running.all {
		if t.Receipt == d.Receipt {
			t.lost = true
			t.ctx.end(ErrLeaseLost)
		}
	}
	for _, t := range s.intake.queue {
		t.lost = t.lost || t.Receipt == d.Receipt
	}
	s.tally.LeasesLost++
}

// trouble tells of a failure that lasts without flooding the log, and waits longer each time.
type trouble struct {
	what  string
	log   *slog.Logger
	since time.Time // zero: no trouble
	said  time.Time
	tries int
}

const sayAgainAfter = time.Minute

// troubleBackoff ends soon enough for a broker that is back to be noticed within two seconds.
var troubleBackoff = Backoff{Min: 100 * time.Millisecond, Max: 1500 * time.Millisecond}

// wait logs err, at most once a minute, and waits for the back-off. It returns false if ctx or stop ends the waiting.
func (t *trouble) wait(ctx context.Context, stop <-chan struct{}, err error) bool {
	now := time.Now()
	if t.since.IsZero() {
		t.since = now
	}
	if now.Sub(t.said) >= sayAgainAfter {
		t.said = now
		t.log.Warn(t.what+", trying again", "error", err, "for", now.Sub(t.since).Round(time.Millisecond))
	}
	t.tries++
	timer := time.NewTimer(troubleBackoff.After(t.tries))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-stop:
	}
	return false
}

// over says so, if there was trouble.
func (t *trouble) over() {
	if t.since.IsZero() {
		return
	}
	t.log.Info(t.what+": over", "after", time.Since(t.since).Round(time.Millisecond))
	t.since, t.said, t.tries = time.Time{}, time.Time{}, 0
}
