package redisstream

import (
	"context"
	"time"
)

const (
	surveyTick  = 5 * time.Second
	surveyFirst = time.Second
)

// survey finds out for subscriptions, in one round trip for all of them, whether other consumers of their groups hold anything, so
// that they look for what the dead ones among those leave, and whether anything waits for its time that another process put
// there. It is what an idle subscription needs besides its read.
func (t *Transport) survey(ctx context.Context, subs []*subscription) {
	for i, cmd := range scriptSurvey.each(ctx, t.cmd, len(subs), func(i int) ([]string, []any) {
		k := subs[i].keys
		return []string{k.stream, k.retry, k.groupDue, k.due}, []any{subs[i].group.Name}
	}) {
		s, answer := subs[i], list(cmd.Val())
		if answer == nil {
			s.others.Store(true) // not known: better look in vain than not at all
			continue
		}
		s.others.Store(int(number(at(answer, 0))) > s.held.size())
		t.watch(s.keys.retryMove(), number(at(answer, 1)))
		t.watch(s.keys.topicMove(), number(at(answer, 2)))
	}
}

// watch moves what was found waiting in a set, in so many milliseconds; none if that is negative.
func (t *Transport) watch(m move, wait int64) {
	if wait >= 0 {
		t.moves.wake(t, m, time.Now().Add(waiting(wait)))
	}
}
