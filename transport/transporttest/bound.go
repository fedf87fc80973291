package transporttest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const (
	saysBound    = "What is beyond the bound is removed from time to time, the oldest first, by whoever subscribes to the group; it is counted in [Lag] and reported through Warn as a [*LossError]."
	saysBoundLen = "letters kept; 0: DefaultMaxLen; negative: no limit"
	saysBoundAge = "time since the message died; 0: no limit"
)

// bounded joins the group with a bound for its letters.
func (g *graveyard) bounded(tr transport.Transport, b transport.LetterBound) *consumer {
	g.Helper()
	return g.joinAs(tr, g.t, transport.Group{Name: "g", Lease: g.h.Lease, Letters: b})
}

// die publishes messages that become letters.
func (g *graveyard) die(c *consumer, bodies ...string) {
	g.Helper()
	g.publish(g.tr, g.t, bodies...)
	for range bodies {
		c.dead(c.one())
	}
}

// shrinks waits, with a consumer that has nothing to do, until these letters are left. What is removed meanwhile must be the
// oldest.
func (g *graveyard) shrinks(c *consumer, left ...string) {
	g.Helper()
	ctx, cancel := context.WithCancel(g.Context())
	got := receiveLater(c, ctx, 10)
	last := int64(-1)
	g.eventually("there are still letters beyond the bound", func() bool {
		n, err := g.q.CountLetters(ctx, g.t, "g")
		g.must("CountLetters", err)
		if n != last {
			g.newest(left)
		}
		last = n
		return n == int64(len(left))
	})
	g.newest(left)
	cancel()
	if r := g.outcome(got); len(r.ds) > 0 {
		g.broken("something came that should not: %s", describe(r.ds))
	}
}

// newest sees that these letters are the newest.
func (g *graveyard) newest(left []string) {
	g.Helper()
	there := bodies(g.page("", 1000))
	if n := len(there) - len(left); n < 0 || !slices.Equal(there[n:], left) {
		g.broken("these letters had to stay: %s; these are there: %s", few(left), few(there))
	}
}

func bodies(ls []*transport.Letter) []string {
	bs := make([]string, len(ls))
	for i, l := range ls {
		bs[i] = string(l.Body)
	}
	return bs
}

// told adds up the letters that consumers were told are removed.
func (g *graveyard) told(cs ...*consumer) (sum int64) {
	g.Helper()
	for _, c := range cs {
		for len(c.warned) > 0 {
			err := <-c.warned
			var loss *transport.LossError
			if !errors.As(err, &loss) {
				g.broken("Warn was called with a %T: %v", err, err)
			}
			if loss.Topic != g.t.Name || loss.Group != "g" || loss.What == "" || loss.Count < 1 || !loss.Letters {
				g.broken("the report does not say what was removed: %+v", *loss)
			}
			sum += loss.Count
		}
	}
	return sum
}

var boundClauses = []clause{
	{"bound-own-letters", "Letters bounds the group's dead letters.", func(e *env) {
		want := numbered("m", 12)
		g := bury(e, want...)
		other := e.join(g.tr, g.t, "h")
		for range want {
			other.dead(other.one())
		}
		c := g.bounded(g.tr, transport.LetterBound{MaxLen: 3})
		g.shrinks(c, want[9:]...)
		c.silent()
		if n, err := g.q.CountLetters(e.Context(), g.t, "h"); n != 12 || err != nil {
			e.broken("another group had 12 letters and no bound so low; it has %d, and the error is %v", n, err)
		}
	}},

	{"bound-length", saysBoundLen, func(e *env) {
		want := numbered("m", 30)
		g := bury(e, want[:20]...)
		for _, b := range []transport.LetterBound{{}, {MaxLen: -1}, {MaxLen: 20}} {
			c := g.bounded(g.tr, b)
			c.silent()
			g.count(20)
			c.leave()
		}
		c := g.bounded(e.open(), transport.LetterBound{MaxLen: 5})
		g.shrinks(c, want[15:20]...)
		g.die(c, want[20:]...)
		g.shrinks(c, want[25:]...)
		c.silent()
		g.count(5)
	}},

	{"bound-age", saysBoundAge, func(e *env) {
		g := bury(e, "a", "b", "c")
		c := g.bounded(g.tr, transport.LetterBound{MaxAge: time.Hour})
		c.silent()
		g.count(3)
		c.leave()
		c = g.bounded(e.open(), transport.LetterBound{MaxAge: short})
		g.shrinks(c)
		g.die(c, "d")
		g.shrinks(c)
	}},

	{"bound-age-of-the-put", saysBoundAge, func(e *env) {
		g := archived(e)
		for _, body := range []string{"old", "older"} {
			g.put(&transport.Letter{Message: messages(body)[0], Reason: "permanent", Attempt: 1, Died: time.Now().Add(-2 * time.Hour)}, "")
		}
		g.die(g.consumer, "young", "younger")
		c := g.bounded(g.tr, transport.LetterBound{MaxLen: 4})
		c.silent()
		g.count(4)
		c.leave()
		g.shrinks(g.bounded(g.tr, transport.LetterBound{MaxLen: -1, MaxAge: time.Hour}), "young", "younger")
	}},

	{"bound-oldest-first", saysBound, func(e *env) {
		want := numbered("m", 120)
		g := bury(e, want...)
		g.discard(2, g.ids(g.page("", 120))[98:100]...)
		g.shrinks(g.bounded(g.tr, transport.LetterBound{MaxLen: 40}), slices.Concat(want[78:98], want[100:])...)
	}},

	{"bound-reported", saysBound, func(e *env) {
		want := numbered("m", 30)
		g := bury(e, want...)
		b := transport.LetterBound{MaxLen: 10}
		cs := []*consumer{g.bounded(g.tr, b), g.bounded(e.open(), b), g.bounded(e.open(), b)}
		g.shrinks(cs[0], want[20:]...)
		sum := int64(0)
		e.eventually("nobody was told of all 20 letters that were removed", func() bool {
			sum += g.told(cs...)
			return sum >= 20
		})
		cs[0].silent()
		if sum += g.told(cs...); sum != 20 {
			e.broken("20 letters were removed; the reports tell of %d", sum)
		}
	}},

	{"bound-counted", "dead letters that the bound of [Group.Letters] has removed since the group was made", func(e *env) {
		g := bury(e, numbered("m", 10)...)
		look := lagOf(e, g.tr, g.t)
		ids := g.ids(g.page("", 10))
		g.discard(1, ids[0])
		g.replay(1, ids[1])
		g.done(g.one())
		shows(e, look, transport.Lag{Dead: 8})
		b := transport.LetterBound{MaxLen: 5}
		c, second := g.bounded(g.tr, b), g.bounded(e.open(), b)
		shows(e, look, transport.Lag{Dead: 5, LettersDropped: 3})
		g.die(c, "a", "b")
		shows(e, look, transport.Lag{Dead: 5, LettersDropped: 5})
		c.leave()
		second.leave()
		g.bounded(g.tr, b).silent()
		shows(e, look, transport.Lag{Dead: 5, LettersDropped: 5})
	}},
}
