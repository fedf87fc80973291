package redisstream

import (
	"context"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const (
	surveyTick  = 5 * time.Second
	surveyFirst = time.Second

	// One step removes few dead letters, because the script reads them, and one look many. That holds the bound where a group gives
	// up on all it gets.
	removeBatch = 25
	removeMost  = 10_000
)

// survey finds out for subscriptions, in one round trip for all of them, whether other consumers of their groups hold anything, so
// that they look for what the dead ones among those leave, and whether anything waits for its time that another process put
// there. It is what an idle subscription needs besides its read. It also keeps the bounds of dead letters: who removes one counts
// it, in the same step, and reports it.
func (t *Transport) survey(ctx context.Context, subs []*subscription) {
	removed := map[*subscription]*transport.LossError{}
	todo := subs
	for steps := 0; len(todo) > 0 && steps < removeMost/removeBatch; steps++ {
		todo = t.surveyStep(ctx, todo, removed)
	}
	for _, s := range todo {
		t.surveys.next(s, 100*time.Millisecond)
	}
	for s, loss := range removed {
		s.warn(loss)
	}
}

// surveyStep returns the subscriptions of which there may be more letters to remove.
func (t *Transport) surveyStep(ctx context.Context, subs []*subscription, removed map[*subscription]*transport.LossError) (more []*subscription) {
	for i, cmd := range scriptSurvey.each(ctx, t.cmd, len(subs), func(i int) ([]string, []any) { return subs[i].surveyScript() }) {
		s, answer := subs[i], list(cmd.Val())
		if answer == nil {
			s.others.Store(true) // not known: better look in vain than not at all
			continue
		}
		s.others.Store(int(number(at(answer, 0))) > s.held.size())
		t.watch(s.keys.retryMove(), number(at(answer, 1)))
		t.watch(s.keys.topicMove(), number(at(answer, 2)))
		letters := list(at(answer, 3))
		if number(at(letters, 0)) > 0 {
			removed[s] = s.removed(removed[s], letters)
		}
		if number(at(letters, 3)) > 0 {
			more = append(more, s)
		}
	}
	return more
}

// surveyScript returns the keys and arguments of scripts/survey.lua.
func (s *subscription) surveyScript() ([]string, []any) {
	k := s.keys
	keep, age := s.group.Letters.Limits()
	return []string{k.stream, k.retry, k.groupDue, k.due, k.dead, k.deadPut, k.deadDropped},
		[]any{s.group.Name, keep, ceilMillis(age), removeBatch}
}

// removed adds letters that the bound has removed to what was before.
func (s *subscription) removed(before *transport.LossError, letters []any) *transport.LossError {
	n, first, last := number(at(letters, 0)), text(at(letters, 1)), text(at(letters, 2))
	if before == nil {
		loss := s.loss("there were more than the group keeps, or for longer", int(n), first, last)
		loss.Letters = true
		return loss
	}
	before.Count += n
	if entryIDLess(first, before.From) {
		before.From = first
	}
	if entryIDLess(before.To, last) {
		before.To = last
	}
	return before
}

// watch moves what was found waiting in a set, in so many milliseconds; none if that is negative.
func (t *Transport) watch(m move, wait int64) {
	if wait >= 0 {
		t.moves.wake(t, m, time.Now().Add(waiting(wait)))
	}
}
