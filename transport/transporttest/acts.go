package transporttest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const saysActs = `Acts returns up to limit acts of a group, oldest first, that come after the act with the id after ("" for the first page).`

// record records an act of group g.
func (g *archive) record(a transport.Act) {
	g.Helper()
	g.must("RecordAct", g.a.RecordAct(g.Context(), g.t, "g", a))
}

// acts returns acts of group g, and sees that they can be read.
func (g *archive) acts(after string, limit int) []transport.Act {
	g.Helper()
	as, err := g.a.Acts(g.Context(), g.t, "g", after, limit)
	g.must("Acts", err)
	if len(as) > limit {
		g.broken("%d acts came; the limit was %d", len(as), limit)
	}
	return as
}

// details reads all acts of group g, page by page.
func (g *archive) details(limit int) (details []string) {
	g.Helper()
	for after := ""; ; {
		as := g.acts(after, limit)
		if len(as) == 0 {
			return details
		}
		for _, a := range as {
			details = append(details, a.Detail)
		}
		after = as[len(as)-1].ActID
	}
}

var actClauses = []clause{
	{"act-whole", "RecordAct appends a to the record of the group, with an ActID and a Time of its own: it ignores those of a.", func(e *env) {
		g := archived(e)
		want := []transport.Act{
			{},
			{Who: "ann@example.com", What: "replay", Detail: `letters with the reason "exhausted": ü {1}`, Count: 17},
			{Who: "\x00\xff", What: "discard", Detail: strings.Repeat("x", 10_000), Count: -1},
			{ActID: "mine", Time: time.Now().Add(-1000 * time.Hour), What: "edit", Count: 1<<62 + 1},
		}
		for _, a := range want {
			g.record(a)
		}
		got := g.acts("", 10)
		if len(got) != len(want) {
			e.broken("%d acts were recorded; there are %d", len(want), len(got))
		}
		seen := map[string]bool{}
		for i, a := range got {
			if off := time.Since(a.Time).Abs(); a.ActID == "" || a.ActID == "mine" || seen[a.ActID] || off > time.Minute {
				e.broken("act %d has the ActID %q and a Time that is %s off", i, a.ActID, off)
			}
			seen[a.ActID] = true
			if i > 0 && a.Time.Before(got[i-1].Time) {
				e.broken("act %d was recorded %s before the one that it follows", i, got[i-1].Time.Sub(a.Time))
			}
			a.ActID, a.Time = want[i].ActID, want[i].Time
			if a != want[i] {
				e.broken("act %d came as %.300q", i, fmt.Sprintf("%+v", a))
			}
		}
	}},

	{"acts-oldest-first", saysActs, func(e *env) {
		g := archived(e)
		want := numbered("act", 25)
		for _, detail := range want {
			g.record(transport.Act{Detail: detail})
		}
		for _, limit := range []int{1, 7, 25, 100} {
			if got := g.details(limit); !slices.Equal(got, want) {
				e.broken("in pages of %d came %d acts of 25: %s", limit, len(got), few(got))
			}
		}
	}},

	{"acts-of-the-group", saysActs, func(e *env) {
		g := archived(e)
		e.join(g.tr, g.t, "h")
		g.record(transport.Act{Detail: "of g"})
		e.must("RecordAct", g.a.RecordAct(e.Context(), g.t, "h", transport.Act{Detail: "of h"}))
		if got := g.details(10); !slices.Equal(got, []string{"of g"}) {
			e.broken("the acts of g are: %s", few(got))
		}
		for _, group := range []string{"nobody", "h2"} {
			if as, err := g.a.Acts(e.Context(), g.t, group, "", 10); len(as) > 0 || err != nil {
				e.broken("Acts of a group without acts returned %d and the error %v", len(as), err)
			}
		}
	}},

	{"acts-outlive-letters", "An Act is something that was done with the dead letters of a group, kept for those who ask later.", func(e *env) {
		g := archived(e, "a", "b")
		g.record(transport.Act{Detail: "before"})
		ids := g.ids(g.page("", 10))
		g.discard(1, ids[0])
		g.replay(1, ids[1])
		g.done(g.one())
		g.record(transport.Act{Detail: "after"})
		g.leave()
		e.must("Close", g.tr.Close())
		other := e.open()
		g = &archive{&graveyard{e.join(other, g.t, "g"), other, other.(transport.DeadLetters), g.t}, other.(transport.LetterArchive)}
		if got := g.details(10); !slices.Equal(got, []string{"before", "after"}) {
			e.broken("before and after the letters went an act was recorded; there are: %s", few(got))
		}
	}},

	{"acts-kept", "The newest 10,000 acts are kept at least.", func(e *env) {
		g := archived(e)
		want := numbered("act", 10_000)
		var all sync.WaitGroup
		for chunk := range slices.Chunk(want[1:], 625) {
			all.Go(func() {
				for _, detail := range chunk {
					if err := g.a.RecordAct(e.Context(), g.t, "g", transport.Act{Detail: detail}); err != nil {
						e.Error(e.verdict("RecordAct failed: %v", err))
						return
					}
				}
			})
		}
		all.Wait()
		g.record(transport.Act{Detail: want[0]})
		got := g.details(1000)
		if missing, extra := difference(want, got); len(missing)+len(extra) > 0 {
			e.broken("of 10,000 acts are missing: %s; twice: %s", few(missing), few(extra))
		}
		if last := got[len(got)-1]; last != want[0] {
			e.broken("the act that was recorded last is not the last one, but %s", last)
		}
	}},
}
