package transporttest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const (
	saysLetter  = "A Letter is a message that a group gave up on, as it was stored: body, headers, id and key are those of the message, unchanged by anything that handled it."
	saysLetters = `Letters returns up to limit letters of a group, oldest first, that come after the letter with the id after ("" for the first page).`
	saysReplay  = "Replay hands letters to the group that failed, and to no other, as new deliveries with Attempt 1, Redelivered 0 and Replays one higher, and removes them, letter by letter in one step each."
	saysCount   = "It returns how many; ids that do not exist are passed over, so that calling it again is safe."
	saysDead    = "Dead: the message becomes one [Letter] of the group's dead letters, and the group does not get it again."
)

// A graveyard is a group with dead letters.
type graveyard struct {
	*consumer
	tr transport.Transport
	q  transport.DeadLetters
	t  transport.Topic
}

// bury makes a group in which these messages died, in this order.
func bury(e *env, bodies ...string) *graveyard {
	e.Helper()
	tr, t := e.open(), e.topic("a")
	q, ok := tr.(transport.DeadLetters)
	e.needs(ok, "DeadLetters")
	g := &graveyard{e.join(tr, t, "g"), tr, q, t}
	e.publish(tr, t, bodies...)
	for range bodies {
		g.dead(g.one())
	}
	return g
}

// page returns letters of group g, and sees that they can be read.
func (g *graveyard) page(after string, limit int) []*transport.Letter {
	g.Helper()
	ls, err := g.q.Letters(g.Context(), g.t, "g", after, limit)
	g.must("Letters", err)
	return ls
}

// count checks CountLetters.
func (g *graveyard) count(want int64) {
	g.Helper()
	n, err := g.q.CountLetters(g.Context(), g.t, "g")
	g.must("CountLetters", err)
	if n != want {
		g.broken("CountLetters returned %d; there are %d", n, want)
	}
}

func (g *graveyard) ids(ls []*transport.Letter) (ids []string) {
	for _, l := range ls {
		ids = append(ids, l.LetterID)
	}
	return ids
}

// replay replays letters and checks how many it says there were.
func (g *graveyard) replay(want int, ids ...string) {
	g.Helper()
	n, err := g.q.Replay(g.Context(), g.t, "g", ids...)
	g.removed("Replay", n, err, want)
}

// discard discards letters and checks how many it says there were.
func (g *graveyard) discard(want int, ids ...string) {
	g.Helper()
	n, err := g.q.Discard(g.Context(), g.t, "g", ids...)
	g.removed("Discard", n, err, want)
}

func (g *graveyard) removed(what string, n int, err error, want int) {
	g.Helper()
	g.must(what, err)
	if n != want {
		g.broken("%s returned %d; %d letters were there", what, n, want)
	}
}

var letterClauses = []clause{
	{"dead-once", saysDead, func(e *env) {
		g := bury(e, "a", "b")
		g.count(2)
		g.leave()
		e.join(e.open(), g.t, "g").silent()
	}},

	{"letter-as-stored", saysLetter, func(e *env) {
		tr, t := e.open(), e.topic("a")
		q, ok := tr.(transport.DeadLetters)
		e.needs(ok, "DeadLetters")
		c := e.join(tr, t, "g")
		g := &graveyard{c, tr, q, t}
		wants := awkward()
		for _, want := range wants {
			e.publishAll(tr, t, []*transport.Message{want.Clone()})
			d := c.one()
			scribble(d.Message)
			c.failed(d, 0)
			d = c.one()
			scribble(d.Message)
			c.dead(d)
		}
		for range 2 { // the second look sees what the first one's reader did to its letters
			for i, l := range g.page("", 100) {
				e.same(l.Message, wants[i])
				scribble(l.Message)
			}
		}
	}},

	{"letter-facts", saysLetter, func(e *env) {
		tr, t := e.open(), e.topic("a")
		q, ok := tr.(transport.DeadLetters)
		e.needs(ok, "DeadLetters")
		a := e.joinLeased(tr, t, "g")
		e.publish(tr, t, "a")
		d := a.one()
		stored := d.Time
		a.failed(d, 0)
		a.one()
		e.broker.Crash(a.Subscription)
		c := e.joinLeased(tr, t, "g")
		c.settle(transport.Settlement{Delivery: c.one(), Verdict: transport.Dead, Reason: "exhausted", Error: "no such order: ü\n\x00"})
		l := (&graveyard{c, tr, q, t}).page("", 1)[0]
		if l.Attempt != 2 || l.Redelivered != 1 || l.Reason != "exhausted" || l.Error != "no such order: ü\n\x00" {
			e.broken("the letter has Attempt %d, Redelivered %d, Reason %q, Error %q", l.Attempt, l.Redelivered, l.Reason, l.Error)
		}
		if l.Consumer == "" || time.Since(l.Died).Abs() > time.Minute || !l.Time.Equal(stored) {
			e.broken("the letter has Consumer %q, Died %v (now is %v), Time %v (it was %v)", l.Consumer, l.Died, time.Now(), l.Time, stored)
		}
	}},

	{"letter-error-text", "MaxErrorText is how many bytes of an error text a dead letter keeps.", func(e *env) {
		g := bury(e)
		e.publish(g.tr, g.t, "a", "b")
		exact, long := strings.Repeat("e", transport.MaxErrorText), strings.Repeat("ü", 5000)
		for _, text := range []string{exact, long} {
			g.settle(transport.Settlement{Delivery: g.one(), Verdict: transport.Dead, Reason: "permanent", Error: text})
		}
		ls := g.page("", 2)
		if ls[0].Error != exact {
			e.broken("a text of %d bytes was kept as %d bytes", len(exact), len(ls[0].Error))
		}
		if n := len(ls[1].Error); n > transport.MaxErrorText || n < transport.MaxErrorText-4 || !strings.HasPrefix(ls[1].Error, "üü") {
			e.broken("a text of %d bytes was kept as %d bytes: %.20q", len(long), n, ls[1].Error)
		}
	}},

	{"letters-oldest-first", saysLetters, func(e *env) {
		want := numbered("m", 25)
		g := bury(e, want...)
		var got []string
		after := ""
		for pages := 0; pages < 10; pages++ {
			ls := g.page(after, 7)
			for _, l := range ls {
				got = append(got, string(l.Body))
			}
			if len(ls) < 7 {
				break
			}
			after = ls[len(ls)-1].LetterID
		}
		if !slices.Equal(got, want) {
			e.broken("the pages gave %d letters of %d, beginning %s", len(got), len(want), few(got))
		}
	}},

	{"letters-after-removed", saysLetters, func(e *env) {
		g := bury(e, "a", "b", "c", "d")
		ids := g.ids(g.page("", 10))
		g.discard(1, ids[1])
		ls := g.page(ids[1], 10)
		if len(ls) != 2 || string(ls[0].Body) != "c" {
			e.broken("after the second of four letters, which was discarded, %d letters came", len(ls))
		}
	}},

	{"letters-last-page", "Fewer than limit letters mean that there are no more.", func(e *env) {
		g := bury(e, numbered("m", 12)...)
		g.discard(3, g.ids(g.page("", 12))[3:6]...)
		for limit := 1; limit < 12; limit++ {
			if n := len(g.page("", limit)); n != min(limit, 9) {
				e.broken("%d letters were asked for; %d came, of 9", limit, n)
			}
		}
		last := g.page("", 100)[8].LetterID
		if n := len(g.page(last, 10)); n != 0 {
			e.broken("%d letters came after the last one", n)
		}
	}},

	{"letters-count", "CountLetters returns how many letters a group has.", func(e *env) {
		g := bury(e, "a", "b", "c")
		other := e.join(g.tr, g.t, "h")
		other.done(other.all(3)...)
		g.count(3)
		if n, err := g.q.CountLetters(e.Context(), g.t, "h"); n != 0 || err != nil {
			e.broken("CountLetters of a group without letters returned %d and the error %v", n, err)
		}
		g.discard(1, g.page("", 1)[0].LetterID)
		g.count(2)
	}},

	{"replay-own-group", saysReplay, func(e *env) {
		g := bury(e, "a", "b", "c")
		other := e.join(g.tr, g.t, "h")
		other.done(other.all(3)...)
		ls := g.page("", 10)
		g.replay(2, ls[0].LetterID, ls[2].LetterID)
		ds := g.expect("a", "c")
		for i, d := range ds {
			g.counts(d, 1, 0)
			if d.ID != ls[2*i].ID && d.ID != ls[2-2*i].ID {
				e.broken("a replayed message has the ID %q; it had another", d.ID)
			}
		}
		g.count(1)
		g.done(ds...)
		g.silent()
		other.silent()
	}},

	{"replay-forgets-the-past", saysReplay, func(e *env) {
		g := bury(e)
		e.publish(g.tr, g.t, "a")
		for range 3 {
			g.failed(g.one(), 0)
		}
		g.dead(g.one())
		g.replay(1, g.ids(g.page("", 1))...)
		d := g.one()
		g.counts(d, 1, 0)
		g.replays(d, 1)
		g.failed(d, 0)
		d = g.one()
		g.counts(d, 2, 0)
		g.replays(d, 1)
	}},

	{"replay-dies-again", saysReplay, func(e *env) {
		g := bury(e, "a")
		first := g.page("", 1)[0]
		g.replay(1, first.LetterID)
		g.count(0)
		g.dead(g.one())
		again := g.page("", 10)
		if len(again) != 1 || again[0].ID != first.ID || string(again[0].Body) != "a" {
			e.broken("a message that was replayed and died again has %d letters", len(again))
		}
	}},

	{"replay-without-consumer", saysReplay, func(e *env) {
		g := bury(e, "a")
		g.leave()
		g.replay(1, g.ids(g.page("", 1))...)
		e.join(e.open(), g.t, "g").expect("a")
	}},

	{"replay-twice", saysCount, func(e *env) {
		g := bury(e, "a", "b", "c")
		ids := g.ids(g.page("", 10))
		g.replay(1, ids[0], ids[0])
		g.replay(2, ids...)
		g.replay(0, ids...)
		g.replay(0)
		g.done(g.expect("a", "b", "c")...)
		g.silent()
	}},

	{"discard", "Discard removes letters for good and returns how many.", func(e *env) {
		g := bury(e, numbered("m", 6)...)
		ids := g.ids(g.page("", 10))
		g.discard(2, ids[0], ids[5])
		g.count(4)
		if left := g.ids(g.page("", 10)); !slices.Equal(left, ids[1:5]) {
			e.broken("of six letters the first and last were discarded; %d are left: %v", len(left), left)
		}
		g.silent()
	}},

	{"discard-twice", "Ids that do not exist are passed over.", func(e *env) {
		g := bury(e, "a", "b")
		ids := g.ids(g.page("", 10))
		g.discard(1, ids[0])
		g.discard(1, ids...)
		g.discard(0, ids...)
		g.replay(0, ids...)
		g.count(0)
	}},

	{"letters-many", saysReplay, func(e *env) {
		want := numbered("m", 120)
		g := bury(e)
		e.publish(g.tr, g.t, want...)
		var ss []transport.Settlement
		for _, d := range g.all(len(want)) {
			ss = append(ss, transport.Settlement{Delivery: d, Verdict: transport.Dead, Reason: "permanent", Error: fmt.Sprint(len(ss))})
		}
		g.settle(ss...)
		g.count(120)
		g.replay(120, g.ids(g.page("", 120))...)
		g.done(g.expect(want...)...)
		g.count(0)
	}},
}
