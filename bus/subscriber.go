package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/typedbus/typedbus/transport"
)

// A Subscriber is a declared subscription of one group to one topic. Its methods may be called concurrently, from handlers
// too, except Stop, which waits for them.
type Subscriber[T any] struct {
	topic *Topic[T]
	sub   *subscription
}

// Subscribe declares that group handles the events of the topic with h. Each group gets every event; within a group each
// event goes to one consumer. Delivery begins with [Bus.Run], or at once if the bus is running.
//
// A declaration returns no error: a bad name, a nil handler, a bad option or a second subscription of the same group on this
// bus are reported by Run, or by [Subscriber.Err] and the log if the bus is running.
func (t *Topic[T]) Subscribe(b *Bus, group string, h HandlerOf[T], opts ...SubscribeOption) *Subscriber[T] {
	o := subscribeOptions{concurrency: 16, prefetch: -1}
	for _, opt := range opts {
		if opt != nil {
			opt.applySubscribe(&o)
		}
	}
	errs := append([]error{t.err, transport.CheckName("group", group)}, o.errs...)
	if h == nil {
		errs = append(errs, errors.New("nil handler: pass a func(context.Context, *bus.Event[T]) error"))
	}
	s := newSubscription(b, t.name, group, erase(t, h), o)
	if t.codec != nil {
		s.contentType = t.codec.ContentType()
	}
	if all := inOneLine(errs); all != "" {
		s.err = fmt.Errorf("bus: subscribe %s/%s: %s", t.Name(), group, all)
	}
	b.add(s)
	return &Subscriber[T]{topic: t, sub: s}
}

// inOneLine tells errors, so that the line of each subscription begins with its name.
func inOneLine(errs []error) string {
	var texts []string
	for _, err := range errs {
		if err != nil {
			texts = append(texts, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	return strings.Join(texts, "; ")
}

// Topic returns the topic subscribed to.
func (s *Subscriber[T]) Topic() *Topic[T] { return s.topic }

// Group returns the group's name.
func (s *Subscriber[T]) Group() string { return s.sub.group }

// Err returns what is wrong with the declaration, or why the subscription cannot be opened; nil while all is well.
func (s *Subscriber[T]) Err() error { return s.sub.declarationError() }

// Pause stops receiving until Resume. What is being handled goes on; what waits in memory goes to the group's other consumers.
func (s *Subscriber[T]) Pause() { s.sub.setPaused(true) }

// Resume ends a Pause, also that of a handler.
func (s *Subscriber[T]) Resume() { s.sub.setPaused(false) }

// Stop drains the subscription for good: it stops receiving, gives what was not started to the group's other consumers, and
// waits for the handlers, for [Grace] or until ctx ends, and then up to ten seconds more for what they leave. The group keeps its
// place. The error tells which handlers did not return. Stopping twice is no error; a stopped group may be subscribed again.
func (s *Subscriber[T]) Stop(ctx context.Context) error { return s.sub.bus.stop(ctx, s.sub) }

// wrap builds a chain once; the first middleware is the outermost.
func wrap(h Handler, mws []Middleware) Handler {
	for _, mw := range slices.Backward(mws) {
		h = mw(h)
	}
	return h
}

func wrapSend(s Sender, mws []SendMiddleware) Sender {
	for _, mw := range slices.Backward(mws) {
		s = mw(s)
	}
	return s
}
