package transporttest

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const (
	saysPut      = "PutLetter stores l as the newest letter of the group, in one step with the removal of the letter with the id replaces, and returns the id of the new one."
	saysPutWhole = "It stores all of l but LetterID, with its Time and Died, and keeps nothing that l points to."
)

// An archive is a group with dead letters that can be written.
type archive struct {
	*graveyard
	a transport.LetterArchive
}

// archived is bury for a transport whose letters can be written.
func archived(e *env, bodies ...string) *archive {
	e.Helper()
	g := bury(e, bodies...)
	a, ok := g.tr.(transport.LetterArchive)
	e.needs(ok, "LetterArchive")
	return &archive{g, a}
}

// letter returns one letter.
func (g *archive) letter(id string) *transport.Letter {
	g.Helper()
	l, err := g.a.Letter(g.Context(), g.t, "g", id)
	g.must("Letter", err)
	if l == nil || l.Message == nil {
		g.broken("Letter returned neither a letter nor an error")
	}
	return l
}

// gone sees that there is no such letter.
func (g *archive) gone(t transport.Topic, group, id string) {
	g.Helper()
	if l, err := g.a.Letter(g.Context(), t, group, id); !errors.Is(err, transport.ErrNoLetter) {
		g.broken("Letter with the id %q, which does not exist in group %s, returned %v and the error %v", id, group, l, err)
	}
}

// put stores a letter and returns its id.
func (g *archive) put(l *transport.Letter, replaces string) string {
	g.Helper()
	id, err := g.a.PutLetter(g.Context(), g.t, "g", l, replaces)
	g.must("PutLetter", err)
	return id
}

// sameLetter compares all of two letters but their ids.
func (e *env) sameLetter(got, want *transport.Letter) {
	e.Helper()
	e.same(got.Message, want.Message)
	if got.Reason != want.Reason || got.Error != want.Error || got.Consumer != want.Consumer {
		e.broken("Reason, Error, Consumer came as %q, %q, %q; they were %q, %q, %q",
			got.Reason, got.Error, got.Consumer, want.Reason, want.Error, want.Consumer)
	}
	if got.Attempt != want.Attempt || got.Redelivered != want.Redelivered || got.Replays != want.Replays {
		e.broken("Attempt, Redelivered, Replays came as %d, %d, %d; they were %d, %d, %d",
			got.Attempt, got.Redelivered, got.Replays, want.Attempt, want.Redelivered, want.Replays)
	}
	if !got.Time.Equal(want.Time) || !got.Died.Equal(want.Died) {
		e.broken("Time and Died came as %v and %v; they were %v and %v", got.Time, got.Died, want.Time, want.Died)
	}
}

// oddLetters are letters that a careless format breaks.
func oddLetters() (ls []*transport.Letter) {
	stored := time.Now().Add(-100 * time.Hour).Truncate(time.Millisecond)
	for i, m := range awkward() {
		m.Time = stored.Add(time.Duration(i) * time.Millisecond)
		ls = append(ls, &transport.Letter{
			Message: m, LetterID: "ignored", Reason: "custom reason: ü", Error: strings.Repeat("\n", transport.MaxErrorText-1) + "\x00",
			Attempt: 7 + i, Redelivered: 300, Replays: 2 * i, Consumer: "a host, {1} \xff", Died: stored.Add(time.Minute),
		})
	}
	return append(ls, &transport.Letter{Message: &transport.Message{ID: "bare", Time: stored}, Died: stored})
}

var archiveClauses = []clause{
	{"archive-early", "The group need not exist yet: it has, once it is made, what was stored for it.", func(e *env) {
		tr, t := e.open(), e.topic("a")
		a, ok := tr.(transport.LetterArchive)
		e.needs(ok, "LetterArchive")
		g := &archive{&graveyard{&consumer{env: e}, tr, tr.(transport.DeadLetters), t}, a}
		e.publish(tr, t, "before")
		l := &transport.Letter{Message: messages("a")[0], Died: time.Now()}
		id := g.put(l, g.put(l, ""))
		g.record(transport.Act{What: "import", Count: 1})
		if string(g.letter(id).Body) != "a" || len(g.acts("", 10)) != 1 {
			e.broken("what was stored is not there")
		}
		if la, ok := tr.(transport.Lagger); ok {
			if _, err := la.Lag(e.Context(), t, "g"); !errors.Is(err, transport.ErrNoGroup) {
				e.broken("storing a letter made the group: Lag returned %v", err)
			}
		}
		g.consumer = e.joinAs(tr, t, transport.Group{Name: "g", Start: transport.Start{Latest: true}})
		e.publish(tr, t, "after")
		g.done(g.expect("after")...)
		if ls := g.page("", 10); len(ls) != 1 || ls[0].LetterID != id || len(g.acts("", 10)) != 1 {
			e.broken("the group was made, and has %d letters and %d acts", len(ls), len(g.acts("", 10)))
		}
		g.replay(1, id)
		g.expect("a")
		g.silent()
	}},

	{"archive-letter", "Letter returns one letter.", func(e *env) {
		g := archived(e, "first")
		g.publishAll(g.tr, g.t, awkward())
		for range awkward() {
			d := g.one()
			g.settle(transport.Settlement{Delivery: d, Verdict: transport.Dead, Reason: "permanent", Error: d.Key})
		}
		for range 2 { // the second look sees what the first one's reader did to its letters
			for _, want := range g.page("", 100) {
				l := g.letter(want.LetterID)
				if l.LetterID != want.LetterID {
					e.broken("the letter %q came with the LetterID %q", want.LetterID, l.LetterID)
				}
				e.sameLetter(l, want)
				scribble(l.Message)
			}
		}
	}},

	{"archive-no-letter", "One that does not exist has an error that wraps [ErrNoLetter].", func(e *env) {
		g := archived(e, "a", "b", "c", "d")
		ids := g.ids(g.page("", 10))
		g.replay(1, ids[0])
		g.discard(1, ids[3])
		for _, id := range []string{ids[0], ids[3], "", "nonsense", ids[1] + "7", "-1"} {
			g.gone(g.t, "g", id)
		}
		e.join(g.tr, g.t, "h")
		g.gone(g.t, "h", ids[1])
		g.gone(g.t, "nobody", ids[1])
		g.gone(e.topic("empty"), "g", ids[1])
	}},

	{"archive-put", saysPut, func(e *env) {
		g := archived(e, "a", "b", "c")
		ids := g.ids(g.page("", 10))
		l := g.letter(ids[1])
		l.Body = []byte("edited")
		id := g.put(l, ids[1])
		if there := bodies(g.page("", 10)); !slices.Equal(there, []string{"a", "c", "edited"}) {
			e.broken("the second of three letters was edited; now they are: %s", few(there))
		}
		if after := g.ids(g.page(ids[2], 10)); !slices.Equal(after, []string{id}) {
			e.broken("PutLetter returned the id %q; after the last letter come: %s", id, few(after))
		}
		e.sameLetter(g.letter(id), l)
		g.gone(g.t, "g", ids[1])
		g.die(g.consumer, "d")
		if there := bodies(g.page(id, 10)); !slices.Equal(there, []string{"d"}) {
			e.broken("one message died after the letter was put; after it come: %s", few(there))
		}
		g.silent()
	}},

	{"archive-put-concurrently", saysPut, func(e *env) {
		g := archived(e, "a")
		id := g.page("", 1)[0].LetterID
		for range 10 {
			ids := g.race(4, func(a transport.LetterArchive) (string, error) {
				return a.PutLetter(e.Context(), g.t, "g", &transport.Letter{Message: messages("edited")[0], Died: time.Now()}, id)
			})
			if len(ids) != 1 {
				e.broken("four edits of one letter at once: %d of them worked", len(ids))
			}
			g.count(1)
			id = ids[0]
		}
	}},

	{"archive-put-or-replay", saysPut, func(e *env) {
		g := archived(e)
		for i := range 12 {
			id := g.put(&transport.Letter{Message: messages("old")[0], Died: time.Now()}, "")
			replayed := make(chan int, 1)
			e.background.Go(func() {
				pause(e.Context(), time.Duration(i%3)*50*time.Microsecond) // so that either wins at times
				n, err := g.q.Replay(e.Context(), g.t, "g", id)
				if err != nil {
					e.Error(e.verdict("Replay failed: %v", err))
				}
				replayed <- n
			})
			edited := g.race(1, func(a transport.LetterArchive) (string, error) {
				pause(e.Context(), time.Duration(i/3%3)*50*time.Microsecond)
				return a.PutLetter(e.Context(), g.t, "g", &transport.Letter{Message: messages("new")[0], Died: time.Now()}, id)
			})
			if n := <-replayed; n+len(edited) != 1 {
				e.broken("a letter was edited and replayed at once; %d replays and %d edits worked", n, len(edited))
			} else if n == 1 {
				g.done(g.expect("old")...)
			}
			g.discard(len(edited), edited...)
		}
		g.count(0)
		g.silent()
	}},

	{"archive-put-beside", `If replaces is "" nothing is removed; if there is no such letter nothing is stored and the error wraps [ErrNoLetter].`, func(e *env) {
		g := archived(e, "a", "b")
		ids := g.ids(g.page("", 10))
		l := &transport.Letter{Message: messages("c")[0], Died: time.Now()}
		ids = append(ids, g.put(l, ""), g.put(l, ""))
		if there := g.ids(g.page("", 10)); !slices.Equal(there, ids) {
			e.broken("two letters were added to two; now they are %s, not %s", few(there), few(ids))
		}
		g.discard(1, ids[0])
		g.put(l, ids[3])
		for _, replaces := range []string{ids[0], ids[3], "nonsense", ids[1] + "7"} {
			if id, err := g.a.PutLetter(e.Context(), g.t, "g", l, replaces); !errors.Is(err, transport.ErrNoLetter) {
				e.broken("PutLetter in place of the letter %q, which does not exist, returned %q and the error %v", replaces, id, err)
			}
		}
		if there := bodies(g.page("", 10)); !slices.Equal(there, []string{"b", "c", "c"}) {
			e.broken("after PutLetters that failed the letters are: %s", few(there))
		}
	}},

	{"archive-put-whole", saysPutWhole, func(e *env) {
		g := archived(e)
		wants := oddLetters()
		var ids []string
		for _, want := range wants {
			l := *want
			l.Message = want.Clone()
			ids = append(ids, g.put(&l, ""))
			scribble(l.Message)
			for i := range l.Headers {
				l.Headers[i].Value = "changed"
			}
		}
		ls := g.page("", 100)
		if there := g.ids(ls); !slices.Equal(there, ids) {
			e.broken("PutLetter returned the ids %s; the letters have %s", few(ids), few(there))
		}
		for i, l := range ls {
			e.sameLetter(l, wants[i])
			e.sameLetter(g.letter(ids[i]), wants[i])
		}
	}},

	{"archive-put-replayed", saysReplay, func(e *env) {
		g := archived(e)
		for _, l := range oddLetters() {
			l.NotBefore = time.Now().Add(1000 * time.Hour) // says nothing about a replay
			g.replay(1, g.put(l, ""))
			d := g.one()
			g.counts(d, 1, 0)
			g.replays(d, l.Replays+1)
			e.same(d.Message, l.Message)
			g.failed(d, 0)
			d = g.one()
			g.replays(d, l.Replays+1)
			if !d.Time.Equal(l.Time) || !d.NotBefore.IsZero() {
				e.broken("a letter with the Time %v was replayed with the Time %v and NotBefore %v", l.Time, d.Time, d.NotBefore)
			}
			scribble(d.Message)
			g.settle(transport.Settlement{Delivery: d, Verdict: transport.Dead, Reason: "exhausted", Error: "boom"})
			again := g.page("", 10)
			if len(again) != 1 || time.Since(again[0].Died).Abs() > time.Minute || again[0].Consumer == l.Consumer {
				e.broken("a letter that was replayed and died again is there %d times, or as it was before", len(again))
			}
			want := *l
			want.Reason, want.Error, want.Attempt, want.Redelivered, want.Replays = "exhausted", "boom", 2, 0, l.Replays+1
			want.Consumer, want.Died = again[0].Consumer, again[0].Died
			e.sameLetter(again[0], &want)
			g.discard(1, again[0].LetterID)
		}
	}},

	{"archive-put-now", "A Time or Died that is zero becomes now, by the broker's clock.", func(e *env) {
		g := archived(e)
		l := g.letter(g.put(&transport.Letter{Message: messages("a")[0]}, ""))
		if time.Since(l.Time).Abs() > time.Minute || time.Since(l.Died).Abs() > time.Minute {
			e.broken("a letter was put at %v; it has the Time %v and Died %v", time.Now(), l.Time, l.Died)
		}
		l.Time = l.Time.Add(-time.Hour)
		l.Died = time.Time{}
		if again := g.letter(g.put(l, "")); !again.Time.Equal(l.Time) || time.Since(again.Died).Abs() > time.Minute {
			e.broken("a letter was put with the Time %v and no Died; it has %v and %v", l.Time, again.Time, again.Died)
		}
	}},

	{"archive-died", "when, by the broker's clock; of a letter that was put, as its Died said", func(e *env) {
		g := archived(e, "a")
		l := g.page("", 1)[0]
		if off := time.Since(l.Died).Abs(); off > time.Minute || l.Died.Before(l.Time) {
			e.broken("Died is %s off, and %s after Time", off, l.Died.Sub(l.Time))
		}
		for _, past := range []time.Duration{0, time.Second, 10_000 * time.Hour} {
			died := l.Died.Add(-past).Truncate(time.Millisecond)
			l.Died = died
			l = g.letter(g.put(l, l.LetterID))
			if !l.Died.Equal(died) {
				e.broken("a letter was put with Died %v; it came with %v", died, l.Died)
			}
		}
	}},
}

// race makes the same call many times at once, each on a transport of its own, and returns the ids of those that worked. The
// others must return [transport.ErrNoLetter].
func (g *archive) race(n int, call func(transport.LetterArchive) (string, error)) (ids []string) {
	g.Helper()
	type result struct {
		id  string
		err error
	}
	results := make(chan result, n)
	for range n {
		a := g.open().(transport.LetterArchive)
		g.background.Go(func() {
			id, err := call(a)
			results <- result{id, err}
		})
	}
	for range n {
		switch r := <-results; {
		case r.err == nil:
			ids = append(ids, r.id)
		case !errors.Is(r.err, transport.ErrNoLetter):
			g.broken("a call that came too late returned %v", r.err)
		}
	}
	return ids
}
