package redisstream

import (
	"context"
	"fmt"
	"time"
)

// A move is a set of what waits for its time, its hash, and the stream where it goes. See due.go for the layout.
type move struct{ set, hash, stream string }

func (k groupKeys) retryMove() move { return move{k.groupDue, k.groupDueBody, k.retry} }
func (k keys) topicMove() move      { return move{k.due, k.dueBody, k.stream} }

// moveTick is how often a transport looks at a set in which something waits, besides when the first of it is due. It knows of
// such a set because it put something there, or because it found it when it looked (survey.go).
const (
	moveTick  = time.Second
	moveBatch = 100
)

// delayed is told of delayed messages that were published; due is by the server's clock.
func (t *Transport) delayed(k keys, due time.Time) {
	t.moves.wake(t, k.topicMove(), time.Now().Add(due.Sub(t.serverNow())))
}

// move moves what is due in all of ms, in one round trip: on the server's clock, in a script, so that several processes move
// it once. What does not happen now happens a tick later.
func (t *Transport) move(ctx context.Context, ms []move) {
	for len(ms) > 0 && ctx.Err() == nil {
		var more []move
		for i, cmd := range scriptMove.each(ctx, t.cmd, len(ms), func(i int) ([]string, []any) {
			return []string{ms[i].set, ms[i].hash, ms[i].stream}, []any{moveBatch}
		}) {
			t.moveFailed(ms[i], cmd.Err())
			if t.moved(ms[i], list(cmd.Val())) {
				more = append(more, ms[i])
			}
		}
		ms = more
	}
}

// moveFailed reports that the server refuses to move what is due, once until it does not; not while the slot is on its way to
// another. Only the mover calls it.
func (t *Transport) moveFailed(m move, err error) {
	switch refused := err != nil && isAnswer(err) && !slotMoves(err); {
	case err == nil:
		delete(t.unmoved, m)
	case refused && !t.unmoved[m]:
		if t.unmoved == nil {
			t.unmoved = map[move]bool{}
		}
		t.unmoved[m] = true
		t.warn(t.clarify("move delayed messages from "+m.set, m.stream, err))
	}
}

// waiting is so many milliseconds, at most a day: other programs may have put any time there.
func waiting(ms int64) time.Duration {
	return time.Duration(min(ms, (24*time.Hour).Milliseconds())) * time.Millisecond
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
	if n := number(at(answer, 3)); n > 0 {
		t.warn(fmt.Errorf("redisstream: %d messages that waited in %s cannot be read and stay in the hash %s: "+
			"whoever wrote them does not keep to docs/wire-format.md; look at them, and HDEL them", n, m.set, m.hash))
	}
	if wait := number(at(answer, 2)); wait >= 0 {
		t.moves.next(m, waiting(wait))
	} else {
		t.moves.nothing(m)
	}
	return number(at(answer, 0)) == moveBatch
}
