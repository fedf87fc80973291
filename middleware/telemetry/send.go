package telemetry

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// Send is a [bus.SendMiddleware]: it makes the span "send <topic>" of each publish, of one event or of many, counts and measures it,
// and writes its context into the headers of copies of the messages.
//
// A message that has a context already, as one from an outbox or one that is passed on, keeps it: the span then links to it.
//
// What is published through an event is counted when it is handed over, which is when its span ends too. A handler that fails
// afterwards takes it back.
func (t *Telemetry) Send(next bus.Sender) bus.Sender {
	var latest atomic.Pointer[sendMeters] // many publish to one topic
	return func(ctx context.Context, topic transport.Topic, ms []*bus.Message) error {
		if len(ms) == 0 || alreadySending(ctx, topic.Name, ms) {
			return next(ctx, topic, ms)
		}
		m := latest.Load()
		if m == nil || m.topic != topic.Name {
			m = t.sendMeters(topic.Name)
			latest.Store(m)
		}
		s := t.beginSend(ctx, m, ms)
		returned, err := false, error(nil)
		defer func() { s.end(returned, err) }()
		err = next(s, topic, s.traced(ms))
		returned = true
		return err
	}
}

// sending is one publish inside its span, and the context of what is further in.
type sending struct {
	context.Context // with the span
	t               *Telemetry
	m               *sendMeters
	span            trace.Span
	began           time.Time
	n               int
	first           string              // id of the first message
	own             []trace.SpanContext // by message: the context it has already, invalid if it gets ours; nil if none has one

	copied struct { // of a single message, so that it needs no allocation of its own
		bus.Message
		all     [1]*bus.Message
		headers [1]transport.Header
	}
}

type sendingKey struct{}

func (s *sending) Value(key any) any {
	if key == (sendingKey{}) {
		return s
	}
	return s.Context.Value(key)
}

// alreadySending says whether ctx is that of a Send further out of the same messages. Messages may have been copied in between.
func alreadySending(ctx context.Context, topic string, ms []*bus.Message) bool {
	s, _ := ctx.Value(sendingKey{}).(*sending)
	return s != nil && s.m.topic == topic && s.n == len(ms) && s.first == idOf(ms[0])
}

func idOf(m *bus.Message) string {
	if m == nil {
		return ""
	}
	return m.ID
}

func (t *Telemetry) beginSend(ctx context.Context, m *sendMeters, ms []*bus.Message) *sending {
	s := &sending{t: t, m: m, n: len(ms), first: idOf(ms[0]), began: time.Now()}
	o := m.starts.get()
	defer m.starts.put(o)
	o.own[0] = semconv.MessagingMessageID(s.first)
	if len(ms) > 1 {
		o.own[0] = semconv.MessagingBatchMessageCount(len(ms))
	}
	kind := producer
	links := s.lookForContexts(ctx, ms)
	if len(links) == len(ms) { // none of them gets its context from this span
		kind = client
	}
	options := append(o.options, kind)
	if len(links) > 0 {
		options = append(options, trace.WithLinks(links...))
	}
	s.Context, s.span = t.tracer.Start(ctx, m.name, options...)
	return s
}

// lookForContexts finds the messages that have a context already, and links to those.
func (s *sending) lookForContexts(ctx context.Context, ms []*bus.Message) (links []trace.Link) {
	for i, m := range ms {
		if m == nil { // the transport will say so
			continue
		}
		_, sc := s.t.propagator().extract(ctx, &m.Headers)
		if !sc.IsValid() {
			continue
		}
		if s.own == nil {
			s.own = make([]trace.SpanContext, len(ms))
		}
		s.own[i] = sc
		link := trace.Link{SpanContext: sc}
		if len(ms) > 1 {
			link.Attributes = append(link.Attributes, semconv.MessagingMessageID(m.ID))
		}
		links = append(links, link)
	}
	return links
}

// traced returns copies of the messages that carry the span's context. Those given stay as they are, so that who tries again
// has the same.
func (s *sending) traced(ms []*bus.Message) []*bus.Message {
	h := s.t.propagator().inject(s.Context, s.copied.headers[:0])
	if len(h) == 0 {
		return ms
	}
	if len(ms) == 1 && ms[0] != nil && s.own == nil {
		return s.tracedOne(ms[0], h)
	}
	all, copies := make([]*bus.Message, len(ms)), make([]bus.Message, len(ms))
	for i, m := range ms {
		if m == nil || s.own != nil && s.own[i].IsValid() {
			all[i] = m
			continue
		}
		copies[i] = *m
		copies[i].Headers = with(m.Headers, h)
		all[i] = &copies[i]
	}
	return all
}

// tracedOne is traced for a single message that is not nil and has no context of its own.
func (s *sending) tracedOne(m *bus.Message, h transport.Headers) []*bus.Message {
	s.copied.Message = *m
	if s.copied.Headers = h; len(m.Headers) > 0 {
		s.copied.Headers = with(m.Headers, h)
	}
	s.copied.all[0] = &s.copied.Message
	return s.copied.all[:]
}

// end ends the span. A sender that did not return panicked, or ended its goroutine.
func (s *sending) end(returned bool, err error) {
	class := errorType(err)
	if !returned {
		class = classPanic
	}
	if class != "" {
		s.t.fail(s.span, class, err)
	}
	if bus.Staging(s.Context) {
		s.span.SetAttributes(keyStaged.Bool(true))
	} else {
		took(s.Context, s.t.operation, time.Since(s.began).Seconds(), s.m.labels.of(class))
	}
	stored := s.stored(class, err)
	s.count(stored, "")
	s.count(s.n-stored, class)
	s.span.End()
}

// stored is how many of the messages the broker, or the event, has taken.
func (s *sending) stored(class string, err error) (n int) {
	if class == "" {
		return s.n
	}
	var each *transport.PublishError
	if !errors.As(err, &each) || len(each.Outcomes) != s.n {
		return 0
	}
	for _, o := range each.Outcomes {
		if o == transport.Stored {
			n++
		}
	}
	return n
}

func (s *sending) count(n int, class string) {
	if n > 0 {
		s.t.sent.Add(s.Context, int64(n), s.m.labels.of(class).add...)
	}
}
