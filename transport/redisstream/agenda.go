package redisstream

import (
	"context"
	"sync"
	"time"
)

// An agenda is when to look after each of many things. One goroutine of the transport does it, from the first of them until
// the transport closes. What would be due soon is looked after with what is due: many things in one round trip cost little.
type agenda[K comparable] struct {
	tick, idle time.Duration // how often: where something happens, and where nothing has for a while
	first      time.Duration // how soon to begin
	do         func(ctx context.Context, due []K)

	mu      sync.Mutex
	items   map[K]*item
	running bool
	news    chan struct{}
}

type item struct {
	users int           // how many want it
	at    time.Time     // when next
	tick  time.Duration // and how long after that
	woken bool          // brought forward since it was last looked at
}

// attend looks after k until disregard is called as often.
func (a *agenda[K]) attend(t *Transport, k K) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.item(t, k).users++
}

func (a *agenda[K]) disregard(k K) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if it := a.items[k]; it != nil {
		if it.users--; it.users <= 0 && !it.woken {
			delete(a.items, k)
		}
	}
}

// wake looks at k at the given time at the latest, also if nobody attends to it.
func (a *agenda[K]) wake(t *Transport, k K, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	it := a.item(t, k)
	it.woken = true
	if at.Before(it.at) {
		it.at = at
		a.poke()
	}
}

// next notes after a look that there will be something to do in a while.
func (a *agenda[K]) next(k K, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	it := a.items[k]
	if it == nil {
		return
	}
	it.tick = a.tick
	if at := time.Now().Add(wait); at.Before(it.at) {
		it.at = at
	}
}

// nothing notes after a look that nothing was to be done, and nothing will be as far as is known.
func (a *agenda[K]) nothing(k K) {
	a.mu.Lock()
	defer a.mu.Unlock()
	it := a.items[k]
	switch {
	case it == nil:
	case it.users <= 0 && !it.woken:
		delete(a.items, k)
	default:
		it.tick = min(2*it.tick, a.idle)
	}
}

// item returns that of k and has the agenda run. The lock is taken.
func (a *agenda[K]) item(t *Transport, k K) *item {
	if a.items == nil {
		a.items, a.news = map[K]*item{}, make(chan struct{}, 1)
	}
	it := a.items[k]
	if it == nil {
		it = &item{at: time.Now().Add(jittered(a.first)), tick: a.tick}
		a.items[k] = it
		a.poke()
	}
	if !a.running {
		a.running = t.start(func() { a.run(t.ctx) })
	}
	return it
}

func (a *agenda[K]) poke() {
	select {
	case a.news <- struct{}{}:
	default:
	}
}

func (a *agenda[K]) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.news:
		case <-timer.C:
		}
		if due := a.due(time.Now()); len(due) > 0 {
			a.do(ctx, due)
		}
		timer.Reset(a.rest(time.Now()))
	}
}

// due are the things to look at now. When to look next is set; looking brings it forward.
func (a *agenda[K]) due(now time.Time) (due []K) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.earliest().After(now) {
		return nil
	}
	for k, it := range a.items {
		if !it.at.After(now.Add(a.tick / 2)) {
			it.at, it.woken = now.Add(jittered(it.tick)), false
			due = append(due, k)
		}
	}
	return due
}

// earliest is when the first thing is due, a minute from now if there is none. The lock is taken.
func (a *agenda[K]) earliest() time.Time {
	first := time.Now().Add(time.Minute)
	for _, it := range a.items {
		if it.at.Before(first) {
			first = it.at
		}
	}
	return first
}

// rest is how long there is nothing to do.
func (a *agenda[K]) rest(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(a.earliest().Sub(now), time.Millisecond)
}

// agendas are what a transport looks after besides its subscriptions' own reads and leases.
type agendas struct {
	moves   agenda[move]          // mover.go: what waits for its time
	surveys agenda[*subscription] // survey.go: groups
	tends   agenda[string]        // retention.go: topics, by stream
	outs    agenda[keys]          // outbox.go: staged messages on their way to another slot; on a Cluster only
	tending tending
	unmoved map[move]bool // refused by the server, and reported; the mover's own

	unrelayed map[keys]bool // likewise, by outbox; the relay's own
}

func (t *Transport) initAgendas() {
	t.moves.tick, t.moves.idle, t.moves.first, t.moves.do = moveTick, moveTick, moveTick, t.move
	t.surveys.tick, t.surveys.idle, t.surveys.first, t.surveys.do = surveyTick, surveyTick, surveyFirst, t.survey
	t.tends.tick, t.tends.idle, t.tends.first, t.tends.do = tendTick, tendTickIdle, tendTick, t.tend
	t.outs.tick, t.outs.idle, t.outs.first, t.outs.do = relayTick, relayTickIdle, relayTick, t.relay
	t.onDelayed = t.delayed
}

// attend looks after what a subscription needs, until disregard.
func (t *Transport) attend(s *subscription) {
	t.surveys.attend(t, s)
	t.tending.add(s)
	t.tends.attend(t, s.keys.stream)
	if t.reads.cluster != nil {
		t.outs.attend(t, s.keys.keys)
	}
}

func (t *Transport) disregard(s *subscription) {
	t.surveys.disregard(s)
	t.tends.disregard(s.keys.stream)
	t.tending.remove(s)
	if t.reads.cluster != nil {
		t.outs.disregard(s.keys.keys)
	}
}

// start runs f until it returns, and says whether it does: not when the transport is closing. Close waits for it.
func (t *Transport) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Go(f)
	return true
}
