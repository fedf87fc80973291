package chaos

import (
	"cmp"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
)

// A spec is what a child is told.
type spec struct {
	Name string // of the process in the history
	Dir  string // where its history and its log go
	URL  string

	publishing
	consuming
}

// logger writes what a bus logs into a file beside the history.
func (s spec) logger() slog.Handler {
	f, err := os.OpenFile(filepath.Join(s.Dir, s.Name+".txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	return slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelWarn})
}

// publishing is what a publisher does.
type publishing struct {
	Count   int           // events
	Rate    int           // events a second, 0 for as many as it can
	Workers int           // publish at the same time, one event after the other each; default 16
	Batch   int           // of so many events at once, default 1
	Delay   time.Duration // the longest time that an event is held back
	Fates   []fate        // of events whose number is a multiple of Every
}

// consuming is what a consumer does.
type consuming struct {
	Lease       time.Duration
	Concurrency int           // default 16
	Work        time.Duration // a handler takes up to twice as long, but see Steady
	Steady      bool          // a handler takes Work
	Attempts    int           // with so many failed attempts an event becomes a dead letter; 0: there are no dead letters
	Backoff     time.Duration // the longest wait for another attempt
	Grace       time.Duration
}

func (c consuming) grace() time.Duration { return cmp.Or(c.Grace, 5*time.Second) }

// A fate is what becomes of each Every-th event when it is handled.
type fate struct {
	Every int
	Kind  string
}

// What may become of an event. An empty kind is handled well.
const (
	failsOnce   = "fails once"
	failsAlways = "fails always"
	panics      = "panics"
	exits       = "exits"
)

// A job is what is published.
type job struct {
	N    int
	Kind string `json:",omitempty"`
	Due  int64  `json:",omitempty"` // in milliseconds since 1970
}

// kind is what becomes of the event with a number; the last fate counts.
func (p publishing) kind(n int) (kind string) {
	for _, f := range p.Fates {
		if n%f.Every == 0 {
			kind = f.Kind
		}
	}
	return kind
}

// dead counts those of n events that nobody can handle.
func (p publishing) dead(n int) (dead int) {
	for i := range n {
		if kind := p.kind(i); kind != "" && kind != failsOnce {
			dead++
		}
	}
	return dead
}

const group = "workers"

var jobs = bus.NewTopic("jobs", codec.JSON[job](), bus.Retain(bus.Retention{MaxLen: -1}))
