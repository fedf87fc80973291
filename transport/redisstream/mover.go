package redisstream

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// A move is a set of what waits for its time, its hash, and the stream where it goes. See due.go for the layout.
type move struct{ set, hash, stream string }

func (k groupKeys) retryMove() move { return move{k.groupDue, k.groupDueBody, k.retry} }
func (k keys) topicMove() move      { return move{k.due, k.dueBody, k.stream} }

// How often a transport looks for what is due and nobody has woken it for: it wakes itself for what it scheduled, so looking
// is for what processes that are gone have left.
const (
	moveTick     = time.Second
	moveTickIdle = 5 * time.Second
	moveBatch    = 100
)

// delayed is told of delayed messages that were published; due is by the server's clock.
func (t *Transport) delayed(k keys, due time.Time) {
	t.moves.wake(t, k.topicMove(), time.Now().Add(due.Sub(t.serverNow())))
}

// move moves what is due in all of ms, in one round trip: on the server's clock, in a script, so that several processes move
// it once.
func (t *Transport) move(ctx context.Context, ms []move) {
	full := false
	for len(ms) > 0 && ctx.Err() == nil {
		pipe := t.cmd.Pipeline()
		cmds := make([]*redis.Cmd, len(ms))
		for i, m := range ms {
			cmds[i] = scriptMove.command(ctx, full, []string{m.set, m.hash, m.stream}, moveBatch)
			_ = pipe.Process(ctx, once{cmds[i]})
		}
		_, _ = pipe.Exec(ctx) // what does not happen now happens a tick later
		var again []move
		full = false
		for i, m := range ms {
			switch unknown := isNoScript(cmds[i].Err()); {
			case unknown, t.moved(m, list(cmds[i].Val())):
				again, full = append(again, m), full || unknown
			}
		}
		ms = again
	}
}

// moved notes the answer of the script for m, and says whether there is more to do at once.
func (t *Transport) moved(m move, answer []any) (more bool) {
	if answer == nil {
		return false
	}
	if n := number(at(answer, 1)); n > 0 {
		t.warn(fmt.Errorf("redisstream: %d messages that waited in %s have lost their content in %s and are dropped: "+
			"both keys belong together, do not change one alone", n, m.set, m.hash))
	}
	if wait := number(at(answer, 2)); wait >= 0 {
		t.moves.next(m, time.Duration(wait)*time.Millisecond)
	} else {
		t.moves.nothing(m)
	}
	return number(at(answer, 0)) == moveBatch
}
