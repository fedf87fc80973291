package bus

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// A Layer is what [Bus.Explain] says of one middleware.
type Layer struct {
	Name  string // as "middleware.Retry"
	Knobs string // its settings in words, as "3 tries within 2s"
	Route bool   // it sends to the dead letters what cannot be handled
}

// Describe gives a middleware its line in [Bus.Explain]. Without it Explain shows the name of the function. A nil mw stays nil, so
// that Run reports it.
//
//go:noinline
func Describe(l Layer, mw Middleware) Middleware {
	if mw == nil {
		return nil
	}
	return func(next Handler) Handler {
		if next == nil {
			return func(context.Context, *Delivery) error { return description(l) }
		}
		return mw(next)
	}
}

// description carries a Layer out of a Handler.
type description Layer

func (d description) Error() string { return d.Name }

// described is the code of what Describe returns: whatever runs it may be asked, with no next handler, for its Layer.
var described = reflect.ValueOf(Describe(Layer{}, func(next Handler) Handler { return next })).Pointer()

// ours is how the names of functions of this module begin. Its types whose method Handle is a middleware answer likewise.
var ours = strings.TrimSuffix(runtime.FuncForPC(reflect.ValueOf(Describe).Pointer()).Name(), "bus.Describe")

func layerOf(mw Middleware) Layer {
	code := reflect.ValueOf(mw).Pointer()
	name := nameOf(code)
	if code == described || strings.HasPrefix(name, ours) && strings.HasSuffix(name, ").Handle-fm") {
		if l, ok := ask(mw); ok {
			return l
		}
	}
	return Layer{Name: shortened(name)}
}

// ask is not ok where a method does not know the question.
func ask(mw Middleware) (l Layer, ok bool) {
	defer func() { _ = recover() }()
	d, ok := mw(nil)(nil, nil).(description)
	return Layer(d), ok
}

func nameOf(code uintptr) string {
	if f := runtime.FuncForPC(code); f != nil {
		return f.Name()
	}
	return "a function"
}

// shortened makes "package.Breaker.Handle" of "host/module/package.(*Breaker).Handle-fm".
func shortened(name string) string {
	name = name[strings.LastIndex(name, "/")+1:]
	name = strings.NewReplacer("(*", "", ")", "", "[...]", "").Replace(name)
	name, _, _ = strings.Cut(strings.TrimSuffix(name, "-fm"), ".func")
	return name
}

// Explain tells in words what the bus was declared to do: for each subscription its topic, group and codec, the chain from
// the outermost middleware to the handler, the options in force, and what becomes of an event that fails. It is for people;
// its form may change.
func (b *Bus) Explain() string {
	var w strings.Builder
	for i, s := range b.subscriptions() {
		if i > 0 {
			w.WriteByte('\n')
		}
		s.explain(&w)
	}
	return w.String()
}

func (s *subscription) explain(w *strings.Builder) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-13s "+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintf(w, "%s/%s\n", s.topic.Name, s.group)
	if s.err != nil {
		row("mistake", "%v", s.err)
	}
	row("topic", "%s, %s", s.topic.Name, retention(s.topic.Retention))
	if promises := published(s.topic); promises != "" {
		row("published", "%s", promises)
	}
	row("group", "%s, begins at %s, lease %v", s.group, begin(s.opts.start), transport.Group{Lease: s.opts.lease}.LeaseOrDefault())
	row("codec", "%s", cmp.Or(s.contentType, "none"))
	layers, route := s.layers()
	for i, l := range layers {
		name := ""
		if i == 0 {
			name = "chain"
		}
		row(name, "%s", l)
	}
	row("handlers", "%s", s.opts.handlers())
	b := s.opts.backoff.resolved()
	row("back-off", "%v doubling up to %v%s", b.Min, b.Max, jitter(b))
	if route == "" {
		route = "no route: a permanent failure is kept, and tried again every " + b.Max.String()
	}
	row("dead letters", "%s; kept: %s", route, letters(s.opts.letters))
}

// layers are the lines of the chain, and who routes to the dead letters.
func (s *subscription) layers() (lines []string, route string) {
	for _, mw := range s.chain() {
		l := layerOf(mw)
		line := l.Name
		if l.Knobs != "" {
			line += ": " + l.Knobs
		}
		if l.Route && route == "" {
			route = "by " + l.Name
		}
		lines = append(lines, line)
	}
	return append(lines, "decoding > handler"), route
}

func (o subscribeOptions) handlers() string {
	text := fmt.Sprintf("%d at once, ", o.concurrency)
	if o.prefetch < 0 {
		text += "prefetching about a second of work"
	} else {
		text += fmt.Sprintf("prefetching %d", o.prefetch)
	}
	if o.maxProcessing == 0 {
		return text + ", no limit of time"
	}
	return text + fmt.Sprintf(", each at most %v", o.maxProcessing)
}

func retention(r transport.Retention) string {
	kind := "what all groups have handled is kept"
	if r.Hard {
		kind = "kept, handled or not"
	}
	maxLen, maxAge := r.Limits()
	text := kind + ": " + bound(maxLen, maxAge, "events")
	if r.AbandonAfter > 0 && !r.Hard {
		text += fmt.Sprintf("; a group that nobody reads for %v is not waited for", r.AbandonAfter)
	}
	return text
}

// published is what Dedup and Durable promise, "" without them.
func published(t transport.Topic) string {
	var promises []string
	if t.Dedup > 0 {
		promises = append(promises, fmt.Sprintf("each id once within %v", t.Dedup))
	}
	switch d := t.Durable; {
	case d.OnDisk && d.Replicas == 0:
		promises = append(promises, fmt.Sprintf("on disk, waiting %v for that", d.TimeoutOrDefault()))
	case d.OnDisk:
		promises = append(promises, fmt.Sprintf("on disk, also of %s, waiting %v for that", replicas(d.Replicas), d.TimeoutOrDefault()))
	case d.Replicas > 0:
		promises = append(promises, fmt.Sprintf("on %s, waiting %v for that", replicas(d.Replicas), d.TimeoutOrDefault()))
	}
	return strings.Join(promises, ", ")
}

func replicas(n int) string {
	if n == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}

func letters(b transport.LetterBound) string {
	maxLen, maxAge := b.Limits()
	return bound(maxLen, maxAge, "letters")
}

func bound(maxLen int64, maxAge time.Duration, what string) string {
	switch {
	case maxLen == 0 && maxAge == 0:
		return "all " + what
	case maxAge == 0:
		return fmt.Sprintf("the newest %d %s", maxLen, what)
	case maxLen == 0:
		return fmt.Sprintf("%s of the last %v", what, maxAge)
	}
	return fmt.Sprintf("the newest %d %s of the last %v", maxLen, what, maxAge)
}

func begin(at transport.Start) string {
	switch {
	case at.Latest:
		return "the latest event"
	case at.ID != "":
		return "position " + at.ID
	case !at.Time.IsZero():
		return at.Time.Format(time.RFC3339)
	}
	return "the earliest event"
}

func jitter(b Backoff) string {
	if b.NoJitter {
		return ", no jitter"
	}
	return ", full jitter"
}
