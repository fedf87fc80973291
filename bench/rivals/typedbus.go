package rivals

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/bench/contest"
	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// typedBus is typedbus on Redis with default options.
func typedBus() contest.Rival {
	return contest.Rival{
		Name: "typedbus",
		How:  "redisstream.Open and bus.New with no option, codec.JSON, Publish of one event at a time",
		Open: onRedis(codec.JSON[contest.Event]()),
	}
}

// typedBusStandard has the recommended chain.
func typedBusStandard() contest.Rival {
	return contest.Rival{
		Name: "typedbus-standard",
		How:  "as typedbus, with bus.Use(middleware.Standard): dead letters, Retry, Timeout, Recover",
		Open: onRedis(codec.JSON[contest.Event](), middleware.Standard(middleware.StandardOptions{})),
	}
}

// typedBusBytes publishes in batches, and carries bytes.
func typedBusBytes() contest.Rival {
	return contest.Rival{
		Name: "typedbus-bytes",
		How:  "as typedbus, with codec.Bytes and PublishAll of 200",
		Open: func(ctx context.Context, s contest.Setup) (contest.Session, error) {
			tr, err := redisstream.Open(ctx, "redis://"+s.Redis, redisstream.Options{})
			if err != nil {
				return nil, err
			}
			return newBytes(tr, s), nil
		},
	}
}

// typedBusInMemory needs no server.
func typedBusInMemory() contest.Rival {
	return contest.Rival{
		Name: "typedbus-memory",
		How:  "memory.New and bus.New with no option, codec.JSON, Publish of one event at a time",
		Open: func(_ context.Context, s contest.Setup) (contest.Session, error) {
			return newTyped(memory.New(), s, codec.JSON[contest.Event]()), nil
		},
	}
}

func onRedis(c codec.Codec[contest.Event], opts ...bus.Option) func(context.Context, contest.Setup) (contest.Session, error) {
	return func(ctx context.Context, s contest.Setup) (contest.Session, error) {
		tr, err := redisstream.Open(ctx, "redis://"+s.Redis, redisstream.Options{})
		if err != nil {
			return nil, err
		}
		return newTyped(tr, s, c, opts...), nil
	}
}

// An app is a service with one bus.
type app struct {
	tr     transport.Transport
	bus    *bus.Bus
	redis  *redis.Client // for looking from outside; nil in memory
	names  []string      // of the topics
	stop   context.CancelFunc
	ended  chan error
	closed []func() error // what else is to be closed
}

func newApp(tr transport.Transport, s contest.Setup, opts ...bus.Option) *app {
	quiet := bus.Logger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	a := &app{tr: tr, bus: bus.New(tr, append(opts, quiet)...), ended: make(chan error, 1)}
	if _, ok := tr.(*redisstream.Transport); ok {
		a.redis = redis.NewClient(&redis.Options{Addr: s.Redis})
	}
	for i := range max(s.Topics, 1) {
		a.names = append(a.names, strings.TrimSuffix(fmt.Sprintf("%s.%d", s.Topic, i), ".0"))
	}
	return a
}

func (s *subscriptions) options() (opts []bus.SubscribeOption) {
	if s.concurrency > 0 {
		opts = append(opts, bus.Concurrency(s.concurrency))
	}
	return opts
}

// run runs the bus until Close, and returns when every subscription is open.
func (a *app) run(ctx context.Context) error {
	ctx, a.stop = context.WithCancel(ctx)
	go func() { a.ended <- a.bus.Run(ctx) }()
	for a.bus.Ready() != nil {
		select {
		case err := <-a.ended:
			return err
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// Settled implements [contest.Session].
func (a *app) Settled(ctx context.Context) (n int64, err error) {
	if a.redis == nil {
		st, err := a.bus.Stats(ctx)
		for _, sub := range st.Subscriptions {
			n += int64(sub.Done)
		}
		return n, err
	}
	for _, name := range a.names {
		in, err := settledIn(ctx, a.redis, name)
		if err != nil {
			return 0, err
		}
		n += in
	}
	return n, nil
}

// Close implements [contest.Session].
func (a *app) Close() error {
	if a.stop != nil {
		a.stop()
		if err := <-a.ended; err != nil {
			return err
		}
	}
	if a.redis != nil {
		a.redis.Close()
	}
	for _, f := range a.closed {
		if err := f(); err != nil {
			return err
		}
	}
	return a.tr.Close()
}

// subscriptions is what the two kinds of session share.
type subscriptions struct {
	*app
	concurrency int
	next        atomic.Uint64 // spreads events over the topics
}

func (s *subscriptions) topic() int { return int(s.next.Add(1) % uint64(len(s.names))) }

type typed struct {
	subscriptions
	topics []*bus.Topic[contest.Event]
}

func newTyped(tr transport.Transport, s contest.Setup, c codec.Codec[contest.Event], opts ...bus.Option) *typed {
	t := &typed{subscriptions: subscriptions{app: newApp(tr, s, opts...), concurrency: s.Concurrency}}
	for _, name := range t.names {
		t.topics = append(t.topics, bus.NewTopic(name, c).KeyedBy(func(e contest.Event) string { return e.Customer }))
	}
	return t
}

// Publish implements [contest.Session].
func (t *typed) Publish(ctx context.Context, e *contest.Event) error {
	return t.topics[t.topic()].Publish(ctx, t.bus, *e)
}

// Consume implements [contest.Session].
func (t *typed) Consume(ctx context.Context, handle func(*contest.Event)) error {
	for _, topic := range t.topics {
		topic.Subscribe(t.bus, group, func(_ context.Context, e *bus.Event[contest.Event]) error {
			handle(&e.Payload)
			return nil
		}, t.options()...)
	}
	return t.run(ctx)
}

// bytes carries bodies that are made once.
type bytesSession struct {
	subscriptions
	topics []*bus.Topic[[]byte]
	body   []byte
}

func newBytes(tr transport.Transport, s contest.Setup, opts ...bus.Option) *bytesSession {
	b := &bytesSession{subscriptions: subscriptions{app: newApp(tr, s, opts...), concurrency: s.Concurrency}, body: bodyOf(s)}
	for _, name := range b.names {
		b.topics = append(b.topics, bus.NewTopic(name, codec.Bytes(), bus.MaxBytes(16<<20)).KeyedBy(func([]byte) string { return anEvent.Customer }))
	}
	return b
}

// bodyOf is what rivals send that carry bytes.
func bodyOf(s contest.Setup) []byte {
	body := contest.Encoded(contest.NewEvent(1))
	if s.Body > 0 {
		body = []byte(strings.Repeat(string(body), s.Body/len(body)+1)[:s.Body])
	}
	return body
}

var anEvent = contest.NewEvent(1)

// Publish implements [contest.Session].
func (b *bytesSession) Publish(ctx context.Context, _ *contest.Event) error {
	return b.topics[b.topic()].Publish(ctx, b.bus, b.body)
}

// PublishAll implements [contest.BatchPublisher].
func (b *bytesSession) PublishAll(ctx context.Context, es []*contest.Event) error {
	bodies := make([][]byte, len(es))
	for i := range bodies {
		bodies[i] = b.body
	}
	return b.topics[b.topic()].PublishAll(ctx, b.bus, bodies)
}

// Consume implements [contest.Session].
func (b *bytesSession) Consume(ctx context.Context, handle func(*contest.Event)) error {
	for _, topic := range b.topics {
		topic.Subscribe(b.bus, group, func(context.Context, *bus.Event[[]byte]) error {
			handle(anEvent)
			return nil
		}, b.options()...)
	}
	return b.run(ctx)
}
