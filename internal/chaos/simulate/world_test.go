package simulate_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

const group = "billing"

// world is one run: a broker, what goes wrong, and what is known about what happened.
type world struct {
	seed     uint64
	sabotage sabotage
	broker   *memory.Transport

	weather weather
	struck  [faults]atomic.Int64
	healed  atomic.Bool // nothing goes wrong any more

	lease   time.Duration
	limited bool              // subscriptions have MaxProcessing
	routed  bool              // they have dlq.Route
	claims  middleware.Claims // nil: they have no Idempotent

	mu         sync.Mutex
	history    []history.Record
	spells     int // faults that were written with their end
	breaches   []string
	deliveries map[*transport.Delivery]*watched
	all        []*watched
	failures   map[string]int  // taken by the broker, by event
	overtaken  map[string]bool // done by who had lost the lease, while another may have it in its queue
	starts     map[string]int  // of handlers
	published  map[string]publication
}

// publication is what is known about the publishing of one event.
type publication struct {
	sure    int // so many tries have stored it
	unknown int // so many may have
}

func newWorld(seed uint64, s sabotage) *world {
	d := newDice(seed, "world")
	w := &world{
		seed: seed, sabotage: s, broker: memory.New(), weather: newWeather(seed),
		lease: time.Second + d.upTo(10*time.Second), limited: d.one(3), routed: d.one(3),
		deliveries: map[*transport.Delivery]*watched{}, failures: map[string]int{}, starts: map[string]int{},
		overtaken: map[string]bool{},
		published: map[string]publication{},
	}
	if d.one(3) {
		w.claims = middleware.NewMemoryClaims()
	}
	return w
}

// strikes says whether a fault happens now.
func (w *world) strikes(d *dice, f fault) bool {
	if !d.one(w.weather[f]) || w.healed.Load() {
		return false
	}
	w.struck[f].Add(1)
	return true
}

// diceOf are the dice of the next start of an event's handler.
func (w *world) diceOf(id string) *dice {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.starts[id]++
	return newDice(w.seed, id, w.starts[id])
}

func (w *world) breach(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(format, args...)
}

// note is breach for who has the lock.
func (w *world) note(format string, args ...any) {
	w.breaches = append(w.breaches, fmt.Sprintf(format, args...))
}

// happened writes history, but not that of the dead. The caller has the lock.
func (w *world) happened(p *process, what history.What, d *transport.Delivery, text string) {
	if p.dead {
		return
	}
	r := history.Record{At: time.Now().UnixNano(), Process: p.name, What: what, Text: text}
	if d != nil {
		r.ID, r.Attempt = d.ID, d.Attempt
	}
	if x := w.deliveries[d]; x != nil {
		r.Redelivered = x.number // tells deliveries of one attempt apart
	}
	w.history = append(w.history, r)
}

// mark writes what befell a process, or "" for all.
func (w *world) mark(process string, what history.What) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history = append(w.history, history.Record{At: time.Now().UnixNano(), Process: process, What: what})
}

// lasted writes a fault of a process that is over now.
func (w *world) lasted(process string, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spells++
	r := history.Record{At: since.UnixNano(), Process: process, What: history.Fault, Text: fmt.Sprint("fault ", w.spells)}
	w.history = append(w.history, r)
	r.At, r.What = time.Now().UnixNano(), history.Healed
	w.history = append(w.history, r)
}
