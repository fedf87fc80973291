package transporttest

import (
	"slices"

	"github.com/typedbus/typedbus/transport"
)

const saysReplays = "Replays is how often the message was replayed from this group's dead letters."

// replayAll replays every letter of the group.
func (g *graveyard) replayAll(want int) {
	g.Helper()
	g.replay(want, g.ids(g.page("", 1000))...)
}

var replayClauses = []clause{
	{"replays-counted", saysReplays, func(e *env) {
		g := bury(e, "a", "b")
		for n := range 3 {
			g.replayAll(2)
			for _, d := range g.expect("a", "b") {
				g.counts(d, 1, 0)
				g.replays(d, n+1)
				g.dead(d)
			}
		}
		g.replay(1, g.page("", 1)[0].LetterID)
		g.replays(g.one(), 4)
		e.publish(g.tr, g.t, "c")
		g.replays(g.expect("c")[0], 0)
		other := e.join(g.tr, g.t, "h")
		for _, d := range other.expect("a", "b", "c") {
			other.replays(d, 0)
		}
	}},

	{"replays-kept", saysReplays, func(e *env) {
		g := bury(e, "a")
		g.replayAll(1)
		d := g.one()
		for i, after := range []bool{false, true} {
			st := transport.Settlement{Delivery: d, Verdict: transport.Failed}
			if after {
				st.After = short
			}
			g.settle(st)
			d = g.one()
			g.counts(d, i+2, 0)
			g.replays(d, 1)
			st.Delivery, st.Verdict = d, transport.Deferred
			g.settle(st)
			d = g.one()
			g.counts(d, i+2, 0)
			g.replays(d, 1)
		}
		g.leave()
		c := e.joinLeased(e.open(), g.t, "g")
		g.replays(c.one(), 1)
		e.broker.Crash(c.Subscription)
		c = e.joinLeased(g.tr, g.t, "g")
		d = c.one()
		c.counts(d, 3, 1)
		c.replays(d, 1)
		c.dead(d)
		g.replayAll(1)
		d = c.one()
		c.counts(d, 1, 0)
		c.replays(d, 2)
	}},

	{"letter-replays", "how often it was replayed before", func(e *env) {
		g := bury(e, "a")
		for n := range 3 {
			if l := g.page("", 1)[0]; l.Replays != n {
				e.broken("a message was replayed %d times; its letter has Replays %d", n, l.Replays)
			}
			g.replayAll(1)
			d := g.one()
			g.failed(d, 0)
			g.dead(g.one())
		}
	}},

	{"replay-concurrently", saysReplay, func(e *env) {
		want := numbered("m", 20)
		g := bury(e, want...)
		ids := g.ids(g.page("", 100))
		n := make(chan int, 3)
		for range cap(n) {
			q := e.open().(transport.DeadLetters)
			e.background.Go(func() {
				sum := 0
				for chunk := range slices.Chunk(ids, 5) {
					got, err := q.Replay(e.Context(), g.t, "g", chunk...)
					if err != nil {
						e.Error(e.verdict("Replay failed: %v", err))
					}
					sum += got
				}
				n <- sum
			})
		}
		if sum := <-n + <-n + <-n; sum != len(want) {
			e.broken("three Replays at once of the same %d letters counted %d", len(want), sum)
		}
		g.count(0)
		g.done(g.expect(want...)...)
		g.silent()
	}},
}
