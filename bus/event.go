package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/typedbus/typedbus/transport"
)

// An Event is a [Delivery], decoded. It is valid until the handler returns.
type Event[T any] struct {
	*Delivery
	Payload T
}

// A Delivery is a message handed to a group for the nth Attempt. It is a [Publisher]: what is published through it is stored
// together with its acknowledgement. It is valid until the handler returns.
type Delivery struct {
	*transport.Delivery
	stage *stage // nil outside a bus
	task  *task  // nil outside a bus
}

var _ Publisher = (*Delivery)(nil)

// A Handler handles a delivery, and what it returns is what happens to it: see the package documentation. It may be called
// concurrently. Its context ends when the lease is lost (cause [ErrLeaseLost]), after [MaxProcessing], and when the drain has
// waited for [Grace].
type Handler func(ctx context.Context, d *Delivery) error

// Middleware wraps a [Handler]. It sees headers and bytes, before they are decoded; see [Use].
type Middleware func(next Handler) Handler

// HandlerOf is a [Handler] of decoded events.
type HandlerOf[T any] func(ctx context.Context, e *Event[T]) error

// MiddlewareOf wraps a [HandlerOf], see [Wrap].
type MiddlewareOf[T any] func(next HandlerOf[T]) HandlerOf[T]

// Send stages ms: they are stored in the same atomic step as the delivery's acknowledgement, after the handler has returned
// nil, and not at all when it returns an error. It may be called concurrently, until the handler returns.
func (d *Delivery) Send(ctx context.Context, t transport.Topic, ms ...*Message) error {
	if d == nil || d.stage == nil { // an Event that was made by hand
		return fmt.Errorf("bus: publish %s: the delivery is not being handled by a bus", t.Name)
	}
	return d.stage.send(ctx, t, ms)
}

// stage collects what a handler publishes through its event.
type stage struct {
	sender Sender // the bus' send middleware, ending in add

	state  atomic.Uint32 // written under mu, except from unused to closed: most handlers stage nothing
	mu     sync.Mutex
	staged []transport.Staged
}

const (
	stageUnused uint32 = iota
	stageInUse
	stageClosed
)

type stageKey struct{}

// send runs the send middleware; the stage travels in the context because the chain is built once for all stages.
func (s *stage) send(ctx context.Context, t transport.Topic, ms []*Message) error {
	return s.sender(context.WithValue(ctx, stageKey{}, s), t, ms)
}

// Staging says, to a [SendMiddleware], whether messages are being staged with an event's acknowledgement: then next stores
// nothing yet.
func Staging(ctx context.Context) bool {
	_, ok := ctx.Value(stageKey{}).(*stage)
	return ok
}

var errHandled = errors.New("the event was handled already: publish before the handler returns, or through the bus")

// stageMessages is the innermost Sender of every stage.
func stageMessages(ctx context.Context, t transport.Topic, ms []*Message) error {
	s, ok := ctx.Value(stageKey{}).(*stage)
	if !ok {
		return fmt.Errorf("bus: publish %s: a send middleware replaced the context: derive it from the one it was given", t.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.CompareAndSwap(stageUnused, stageInUse); s.state.Load() == stageClosed {
		return fmt.Errorf("bus: publish %s: %w", t.Name, errHandled)
	}
	for _, m := range ms {
		if err := storable(t, m); err != nil {
			return fmt.Errorf("bus: publish %s: %w", t.Name, err)
		}
	}
	for _, m := range ms {
		s.staged = append(s.staged, transport.Staged{Topic: t, Message: m})
	}
	return nil
}

// storable refuses what no transport can store, before the handler has returned: afterwards nobody could mend it.
func storable(t transport.Topic, m *Message) error {
	if m == nil || m.ID == "" {
		return errors.New("a message without an id: publish through a Topic, or set it")
	}
	for _, h := range m.Headers {
		if !transport.ValidHeaderName(h.Name) {
			return fmt.Errorf("bad header name %.140q", h.Name)
		}
	}
	return transport.CheckName("topic", t.Name)
}

// close ends staging and returns what was staged.
func (s *stage) close() []transport.Staged {
	if s.state.CompareAndSwap(stageUnused, stageClosed) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Store(stageClosed)
	return s.staged
}

// Staged is how many messages wait to be stored together with the delivery's acknowledgement.
func (d *Delivery) Staged() int {
	if d.stage == nil || d.stage.state.Load() == stageUnused {
		return 0
	}
	d.stage.mu.Lock()
	defer d.stage.mu.Unlock()
	return len(d.stage.staged)
}

func (d *Delivery) unstage(from int) {
	if d.stage == nil {
		return
	}
	d.stage.mu.Lock()
	defer d.stage.mu.Unlock()
	if len(d.stage.staged) > from {
		d.stage.staged = d.stage.staged[:from]
	}
}

// Draining is closed when the drain of the subscription begins: what only waits should give up then. It is nil, and so never
// closed, for a delivery that no bus handles.
func (d *Delivery) Draining() <-chan struct{} {
	if d.task == nil {
		return nil
	}
	return d.task.s.draining
}

// WithMessage returns the delivery with another message in it, for middleware that rewrites headers or bytes before they are
// decoded. What is retried, dead-lettered or given back stays the message that was stored.
func (d *Delivery) WithMessage(m *Message) *Delivery {
	rewritten := *d.Delivery
	rewritten.Message = m
	return &Delivery{Delivery: &rewritten, stage: d.stage, task: d.task}
}

// Same says whether both are one delivery, though middleware may have put another message into it: not another delivery of the
// same event.
func (d *Delivery) Same(other *Delivery) bool {
	if d.task == nil || other.task == nil {
		return d.Delivery == other.Delivery
	}
	return d.task == other.task
}

// NewDelivery makes a delivery that no bus handles, for tests of handlers and middleware: what is published through it goes
// to via. Applications under test have bustest.NewEvent.
func NewDelivery(d *transport.Delivery, via Publisher) *Delivery {
	return &Delivery{Delivery: d, stage: &stage{sender: func(ctx context.Context, t transport.Topic, ms []*Message) error {
		return via.Send(ctx, t, ms...)
	}}}
}
