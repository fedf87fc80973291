package bustest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// A Recorder is a [bus.Publisher] that keeps what it is given. The zero value is ready. It may be used concurrently.
type Recorder struct {
	mu   sync.Mutex
	sent []Sent
	err  error
}

// Sent is one published message.
type Sent struct {
	Topic string
	*bus.Message
}

var _ bus.Publisher = (*Recorder)(nil)

// Send keeps copies of ms.
func (r *Recorder) Send(ctx context.Context, t transport.Topic, ms ...*bus.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if slices.Contains(ms, nil) {
		return errors.New("bustest: nil message")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	for _, m := range ms {
		r.sent = append(r.sent, Sent{Topic: t.Name, Message: m.Clone()})
	}
	return nil
}

// Fail makes every Send from now on return err and keep nothing; nil ends that.
func (r *Recorder) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Sent returns what was published, in order, on all topics.
func (r *Recorder) Sent() []Sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sent)
}

// Published returns the values published on a topic, decoded and in order. What cannot be decoded fails the test.
func Published[T any](t testing.TB, r *Recorder, topic *bus.Topic[T]) []T {
	t.Helper()
	var vs []T
	for _, s := range r.Sent() {
		if s.Topic != topic.Name() {
			continue
		}
		v, err := topic.Decode(s.Message)
		if err != nil {
			t.Fatalf("bustest: %v", err)
		}
		vs = append(vs, v)
	}
	return vs
}

// NewEvent makes an event for a test that calls a handler by itself: the first attempt at v, as if it had been published with
// the options. What the handler publishes through the event goes to r, which may be nil if the test does not care.
func NewEvent[T any](t testing.TB, r *Recorder, topic *bus.Topic[T], v T, opts ...bus.PublishOption) *bus.Event[T] {
	t.Helper()
	var own Recorder
	if err := topic.Publish(t.Context(), &own, v, opts...); err != nil {
		t.Fatalf("bustest: %v", err)
	}
	if r == nil {
		r = new(Recorder)
	}
	d := &transport.Delivery{Message: own.sent[0].Message, Topic: topic.Name(), Group: "test", Attempt: 1, Receipt: "test"}
	return &bus.Event[T]{Delivery: bus.NewDelivery(d, r), Payload: v}
}
