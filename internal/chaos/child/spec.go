package child

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport"
)

// SpecVar is the environment variable with the [Spec] of a child, in JSON.
const SpecVar = "TYPEDBUS_CHAOS"

// A Spec is what a child is told.
type Spec struct {
	Name string // of the process in the history
	Dir  string // where its history and its log go
	URL  string

	Topics int // how many; the events take turns. Default 1

	Publishing
	Consuming
}

// Publishing is what a publisher does.
type Publishing struct {
	Count   int           // events
	Rate    int           // events a second, 0 for as many as it can
	Workers int           // publish at the same time, one event after the other each; default 16
	Batch   int           // of so many events at once, default 1
	Delay   time.Duration // the longest time that an event is held back
	Fates   []Fate        // of events whose number is a multiple of Every
	Dedup   time.Duration // of the topic
	Durable transport.Durability
	Extra   int // bytes that each event has besides
}

// Consuming is what a consumer does.
type Consuming struct {
	Lease       time.Duration
	Concurrency int           // default 16
	Work        time.Duration // a handler takes up to twice as long, but see Steady
	Steady      bool          // a handler takes Work
	Attempts    int           // with so many failed attempts an event becomes a dead letter; 0: there are no dead letters
	Backoff     time.Duration // the longest wait for another attempt
	Grace       time.Duration
	Sink        string        // where effects go, for programs that have one
	Effect      Effect        // of handlers in this program
	Linger      time.Duration // a handler takes so much longer after its effect
}

// GraceOrDefault is how long a drain may take.
func (c Consuming) GraceOrDefault() time.Duration { return cmp.Or(c.Grace, 5*time.Second) }

// A Fate is what becomes of each Every-th event when it is handled.
type Fate struct {
	Every int
	Kind  Kind
}

// Every is the fate of each n-th event.
func Every(n int, k Kind) Fate { return Fate{n, k} }

// A Kind is what becomes of an event. An empty one is handled well.
type Kind string

// What may become of an event that is not handled well.
const (
	FailsOnce   Kind = "fails once"
	FailsAlways Kind = "fails always"
	Panics      Kind = "panics"
	Exits       Kind = "exits" // the process of the handler
)

// Dead says whether nobody can handle the event.
func (k Kind) Dead() bool { return k != "" && k != FailsOnce }

// A Job is what is published.
type Job struct {
	N     int
	Kind  Kind   `json:",omitempty"`
	Due   int64  `json:",omitempty"` // in milliseconds since 1970
	Extra string `json:",omitempty"`
}

// Kind is what becomes of the event with a number; the last fate counts.
func (p Publishing) Kind(n int) (kind Kind) {
	for _, f := range p.Fates {
		if n%f.Every == 0 {
			kind = f.Kind
		}
	}
	return kind
}

// Dead counts those of n events that nobody can handle.
func (p Publishing) Dead(n int) (dead int) {
	for i := range n {
		if p.Kind(i).Dead() {
			dead++
		}
	}
	return dead
}

// Group is the group that all consumers are of.
const Group = "workers"

// Jobs is the topic of all events, the first where there are several.
var Jobs = Topic(0)

// Topic is one of the topics.
func Topic(i int) *bus.Topic[Job] {
	return bus.NewTopic(TopicName(i), codec.JSON[Job](), bus.Retain(bus.Retention{MaxLen: -1}))
}

// TopicName is the name of one of the topics.
func TopicName(i int) string {
	if i == 0 {
		return "jobs"
	}
	return fmt.Sprint("jobs-", i)
}

// topic is where the event with a number goes.
func (s Spec) topic(n int) transport.Topic {
	return transport.Topic{Name: TopicName(n % max(s.Topics, 1)), Retention: transport.Retention{MaxLen: -1}, Dedup: s.Dedup, Durable: s.Durable}
}

// Play is a child, with the spec of its environment, until it is done, ctx ends or it gets a SIGTERM.
func Play(ctx context.Context, role func(context.Context, Spec) error) error {
	var s Spec
	if err := json.Unmarshal([]byte(os.Getenv(SpecVar)), &s); err != nil {
		return fmt.Errorf("child: %s: %w", SpecVar, err)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	return role(ctx, s)
}

// logger writes what a bus logs into a file beside the history.
func (s Spec) logger() slog.Handler {
	f, err := os.OpenFile(filepath.Join(s.Dir, s.Name+".txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	return slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelWarn})
}
