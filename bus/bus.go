package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// A Bus joins topics, handlers and a transport. Its methods may be called concurrently.
type Bus struct {
	tr    transport.Transport
	opts  options
	send  Sender // send middleware, ending in the transport
	stage Sender // send middleware, ending in the stage of an event
	log   *slog.Logger

	mu    sync.Mutex
	state busState
	subs  []*subscription
	run   *run // while running
}

type busState uint8

const (
	idle busState = iota
	running
	drained
)

// run is what exists while Run runs.
type run struct {
	ctx   context.Context // Run's: its end begins the drain
	base  context.Context // Run's values without its end: the root of handlers' contexts and of settling
	fatal chan error      // the first reason to end early
	subs  []*subscription // declared before; those that come later open by themselves
}

// New makes a bus on a transport. It does no I/O. The transport stays the caller's to close, after Run has returned.
func New(tr transport.Transport, opts ...Option) *Bus {
	o := options{grace: 20 * time.Second, log: slog.Default()}
	for _, opt := range opts {
		if opt != nil {
			opt.applyBus(&o)
		}
	}
	if tr == nil {
		o.errs = append(o.errs, errors.New("bus: nil transport: pass memory.New() or what redisstream.Open returned"))
	}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	b := &Bus{tr: tr, opts: o, log: o.log}
	b.send = wrapSend(b.publish, o.send)
	b.stage = wrapSend(stageMessages, o.send)
	return b
}

var _ Publisher = (*Bus)(nil)

// Send stores messages that are encoded already; applications call [Topic.Publish].
func (b *Bus) Send(ctx context.Context, t transport.Topic, ms ...*Message) error {
	if b == nil {
		return fmt.Errorf("bus: publish %s: nil bus", t.Name)
	}
	return b.send(ctx, t, ms)
}

func (b *Bus) publish(ctx context.Context, t transport.Topic, ms []*Message) error {
	if b.tr == nil {
		return errors.Join(b.opts.errs...)
	}
	var err error
	if t.Dedup > 0 {
		err = b.repeating(ctx, t, ms)
	} else {
		err = b.tr.Publish(ctx, t, ms)
	}
	if err == nil {
		return nil
	}
	if each := new(transport.PublishError); !errors.As(err, &each) {
		err = fmt.Errorf("publish %s: %w", t.Name, err)
	}
	if errors.Is(err, ErrClosed) {
		return fmt.Errorf("bus: %w: close the transport after the last publish", err)
	}
	return fmt.Errorf("bus: %w", err)
}

// forgets says whether nothing keeps what was sent: transports do not, but send middleware may.
func (b *Bus) forgets() bool { return len(b.opts.send) == 0 }

// Run opens every subscription, handles events until ctx ends, drains, and returns.
//
// It returns at once, before anything has started, with all that is wrong with the declarations of the bus. It returns an
// error if a subscription cannot be opened, if the transport is closed under it, or if a handler does not return in the
// drain. A broker that goes away later is waited for. Run can be called once.
//
// The drain stops receiving, gives what was not started to the group's other consumers, and waits for the handlers. After
// [Grace] it ends their contexts (cause [ErrDraining]); an event whose handler is cut short is given back with no attempt
// counted. Handlers' contexts have the values of ctx but do not end with it.
func (b *Bus) Run(ctx context.Context) error {
	r, err := b.begin(ctx)
	if err != nil {
		return err
	}
	if err := b.open(r); err != nil {
		return errors.Join(err, b.drain(r))
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-r.fatal:
	}
	return errors.Join(err, b.drain(r))
}

// begin checks the declarations and marks the bus as running.
func (b *Bus) begin(ctx context.Context) (*run, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != idle {
		return nil, errors.New("bus: Run was called before: a bus runs once; make a new one")
	}
	errs := slices.Clone(b.opts.errs)
	for _, s := range b.subs {
		errs = append(errs, s.declarationError())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	b.run = &run{ctx: ctx, base: context.WithoutCancel(ctx), fatal: make(chan error, 1)}
	for _, s := range b.subs {
		if s.beginOpening() {
			b.run.subs = append(b.run.subs, s)
		}
	}
	b.state = running
	return b.run, nil
}

// open opens the subscriptions that were declared before Run, all at once, and returns when all are open.
func (b *Bus) open(r *run) error {
	errs := make([]error, len(r.subs))
	var wg sync.WaitGroup
	for i, s := range r.subs {
		wg.Go(func() { defer s.opening.Done(); errs[i] = s.open(r) })
	}
	wg.Wait()
	if r.ctx.Err() != nil {
		return nil // told to end before it began
	}
	return errors.Join(errs...)
}

// add registers a declaration; on a running bus it is opened at once, and what is wrong is said in the log.
func (b *Bus) add(s *subscription) {
	if b.register(s); s.err != nil && !b.declaring() {
		b.log.Error("subscription refused", "error", s.err)
	}
}

// declaring: Run has not been called, and will report what is wrong.
func (b *Bus) declaring() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state == idle
}

func (b *Bus) register(s *subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, other := range b.subs {
		if s.err == nil && other.topic.Name == s.topic.Name && other.group == s.group {
			s.err = fmt.Errorf("bus: subscribe %s/%s: this bus has that subscription already: raise its Concurrency, or use another group",
				s.topic.Name, s.group)
		}
	}
	if b.state == drained && s.err == nil {
		s.err = fmt.Errorf("bus: subscribe %s/%s: Run has returned: subscribe before, or make a new bus", s.topic.Name, s.group)
	}
	if b.state != idle && s.err != nil {
		return
	}
	b.subs = append(b.subs, s)
	if b.state == running {
		s.openWhileRunning(b.run)
	}
}

// fail ends Run early.
func (b *Bus) fail(r *run, err error) {
	select {
	case r.fatal <- err:
	default: // it is ending already
	}
}

func (b *Bus) subscriptions() []*subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.subs)
}

// stop drains one subscription and forgets it.
func (b *Bus) stop(ctx context.Context, s *subscription) error {
	err := s.drain(ctx, b.opts.grace)
	select {
	case <-s.closed:
	default:
		return err // another Stop is about it
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs = slices.DeleteFunc(b.subs, func(other *subscription) bool { return other == s })
	return err
}

// drain ends every subscription.
func (b *Bus) drain(r *run) error {
	b.mu.Lock()
	b.state = drained
	b.mu.Unlock()
	subs := b.subscriptions()
	errs := make([]error, len(subs))
	var wg sync.WaitGroup
	for i, s := range subs {
		wg.Go(func() { errs[i] = s.drain(r.base, b.opts.grace) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
