package memory

import (
	"slices"
	"strconv"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// sweepAfter is how long letters beyond the bound stay, so that one report tells of many.
const sweepAfter = 2 * time.Second

// watchLetters sets the alarm for when a consumer's bound is to be enforced. Where there are no letters it costs nothing.
func (g *group) watchLetters() {
	if g.letters.live == 0 {
		return
	}
	now := time.Now()
	for s := range g.subs {
		if at, ok := g.letters.exceed(s.conf.Letters, now); ok && s.alive() {
			g.sweep.set(at.Add(sweepAfter))
		}
	}
}

// exceed is when letters are beyond a bound, now or later, and whether that will be.
func (ls *letters) exceed(b transport.LetterBound, now time.Time) (at time.Time, ok bool) {
	maxLen, maxAge := b.Limits()
	if maxLen > 0 && int64(ls.live) > maxLen {
		return now, true
	}
	died, ok := ls.ages.next()
	if at = died.Add(maxAge); at.Before(now) {
		at = now
	}
	return at, ok && maxAge > 0
}

// sweepLetters enforces the bound of each consumer that lives, and tells it what that removed.
func (g *group) sweepLetters() {
	g.mu.Lock()
	g.sweep.clear()
	reports := map[*subscription]*transport.LossError{}
	for s := range g.subs {
		if s.alive() {
			if lost := g.enforce(s.conf.Letters); lost != nil && s.conf.Warn != nil {
				reports[s] = lost
			}
		}
	}
	g.watchLetters()
	g.mu.Unlock()
	for s, lost := range reports {
		s.conf.Warn(lost)
	}
}

// enforce returns nil if there is nothing beyond the bound.
func (g *group) enforce(b transport.LetterBound) *transport.LossError {
	gone := g.letters.enforce(b, time.Now())
	if len(gone) == 0 {
		return nil
	}
	return &transport.LossError{
		Topic: g.topic.name, Group: g.name, Letters: true,
		What:  "there were more than the group keeps, or for longer",
		Count: int64(len(gone)),
		From:  strconv.FormatUint(slices.Min(gone), 10),
		To:    strconv.FormatUint(slices.Max(gone), 10),
	}
}

// enforce removes what is beyond a bound and returns the numbers.
func (ls *letters) enforce(b transport.LetterBound, now time.Time) (gone []uint64) {
	maxLen, maxAge := b.Limits()
	for maxAge > 0 {
		number, ok := ls.ages.due(now.Add(-maxAge))
		if !ok {
			break
		}
		i, _ := ls.search(number)
		ls.empty(i)
		gone = append(gone, number)
	}
	for i := 0; maxLen > 0 && int64(ls.live) > maxLen; i++ {
		if l := ls.all[i]; l.Message != nil {
			ls.ages.remove(l.age)
			ls.empty(i)
			gone = append(gone, l.number)
		}
	}
	ls.dropped += int64(len(gone))
	ls.tidy()
	return gone
}
