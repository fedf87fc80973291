package redisstream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A move is a set of what waits for its time, its hash, and the stream where it goes. See due.go for the layout.
type move struct{ set, hash, stream string }

func (k groupKeys) retryMove() move { return move{k.groupDue, k.groupDueBody, k.retry} }
func (k keys) topicMove() move      { return move{k.due, k.dueBody, k.stream} }

// How often a mover looks where it does not know that something is due: this process wakes it for what it scheduled itself,
// so looking is for what processes that are gone have left.
const (
	moveTick     = time.Second
	moveTickIdle = 5 * time.Second // where nothing waits for long
	moveBatch    = 100
)

// A mover moves what is due, on the server's clock, in a script: several movers move it once. It looks after the sets of what
// the transport subscribes to, and of what it has scheduled itself.
type mover struct {
	mu      sync.Mutex
	watches map[move]*watch
	running bool
	news    chan struct{}
}

// A watch is when to look at a set next.
type watch struct {
	users int           // subscriptions that want it
	at    time.Time     // when to look
	tick  time.Duration // how long to wait if nothing is known to be due
	woken bool          // something was scheduled since the set was last looked at
}

// attend looks after m until disregard is called as often.
func (mv *mover) attend(t *Transport, m move) {
	mv.mu.Lock()
	defer mv.mu.Unlock()
	mv.watch(t, m).users++
}

func (mv *mover) disregard(m move) {
	mv.mu.Lock()
	defer mv.mu.Unlock()
	if w := mv.watches[m]; w != nil {
		w.users--
	}
}

// wakeMover looks at m at the given time, as well as whenever it would anyway.
func (t *Transport) wakeMover(m move, at time.Time) {
	mv := &t.mover
	mv.mu.Lock()
	defer mv.mu.Unlock()
	w := mv.watch(t, m)
	w.woken = true
	if at.Before(w.at) {
		w.at = at
		mv.poke()
	}
}

// delayed is told of delayed messages that were published; due is by the server's clock.
func (t *Transport) delayed(k keys, due time.Time) {
	t.wakeMover(k.topicMove(), time.Now().Add(due.Sub(t.serverNow())))
}

// watch returns the watch of m and has the mover run. The lock is taken.
func (mv *mover) watch(t *Transport, m move) *watch {
	if mv.watches == nil {
		mv.watches, mv.news = map[move]*watch{}, make(chan struct{}, 1)
	}
	w := mv.watches[m]
	if w == nil {
		w = &watch{at: time.Now().Add(jittered(moveTick)), tick: moveTick}
		mv.watches[m] = w
		mv.poke()
	}
	if !mv.running {
		mv.running = t.start(func() { mv.run(t) })
	}
	return w
}

func (mv *mover) poke() {
	select {
	case mv.news <- struct{}{}:
	default:
	}
}

// run moves until the transport closes.
func (mv *mover) run(t *Transport) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-mv.news:
		case <-timer.C:
		}
		mv.moveAll(t.ctx, t, mv.ready(time.Now()))
		timer.Reset(mv.rest(time.Now()))
	}
}

// ready are the sets to look at now. Their next look is set; moving brings it forward.
func (mv *mover) ready(now time.Time) (ms []move) {
	mv.mu.Lock()
	defer mv.mu.Unlock()
	for m, w := range mv.watches {
		if !now.Before(w.at) {
			w.at, w.woken = now.Add(jittered(w.tick)), false
			ms = append(ms, m)
		}
	}
	return ms
}

// rest is how long there is nothing to do.
func (mv *mover) rest(now time.Time) time.Duration {
	mv.mu.Lock()
	defer mv.mu.Unlock()
	d := time.Minute
	for _, w := range mv.watches {
		d = min(d, w.at.Sub(now))
	}
	return max(d, time.Millisecond)
}

// moveAll moves what is due in all of ms, in one round trip.
func (mv *mover) moveAll(ctx context.Context, t *Transport, ms []move) {
	full := false
	for len(ms) > 0 && ctx.Err() == nil {
		pipe := t.cmd.Pipeline()
		cmds := make([]*redis.Cmd, len(ms))
		for i, m := range ms {
			cmds[i] = scriptMove.command(ctx, full, []string{m.set, m.hash, m.stream}, moveBatch)
			_ = pipe.Process(ctx, once{cmds[i]})
		}
		_, _ = pipe.Exec(ctx) // what did not happen now happens later
		var again []move
		full = false
		for i, m := range ms {
			if isNoScript(cmds[i].Err()) {
				again, full = append(again, m), true
				continue
			}
			if mv.moved(t, m, list(cmds[i].Val())) {
				again = append(again, m)
			}
		}
		ms = again
	}
}

// moved notes the answer of the script for m, and says whether there is more to do at once.
func (mv *mover) moved(t *Transport, m move, answer []any) (more bool) {
	if answer == nil {
		return false
	}
	if n := number(at(answer, 1)); n > 0 {
		t.warn(fmt.Errorf("redisstream: %d messages that waited in %s have lost their content in %s and are dropped: "+
			"both keys belong together, do not change one alone", n, m.set, m.hash))
	}
	mv.mu.Lock()
	defer mv.mu.Unlock()
	w, wait := mv.watches[m], number(at(answer, 2))
	switch {
	case wait >= 0:
		w.tick = moveTick
		if at := time.Now().Add(time.Duration(wait) * time.Millisecond); at.Before(w.at) {
			w.at = at
		}
	case w.users <= 0 && !w.woken:
		delete(mv.watches, m)
	default:
		w.tick = min(2*w.tick, moveTickIdle)
	}
	return number(at(answer, 0)) == moveBatch
}
