package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/transport"
)

// slack is how many times as long as promised something may take here: machines that run tests are slow and busy.
const slack = 3

// within fails if a recovery took much longer than promised, and notes the longest.
func (r *run) within(limit time.Duration, what string) {
	require.NotEmpty(r, r.recovery, "%s was measured", what)
	longest := slices.Max(r.recovery)
	r.note("%s: at most %v, promised %v", what, longest.Round(time.Millisecond), limit)
	r.late = r.late || longest > limit
	assert.Less(r, longest, slack*limit, "%s", what)
}

// orphans measures how long what a killed process was handling waited for another.
func orphans(limit time.Duration) func(*run) {
	return func(r *run) {
		running := inFlight{}
		waits := map[string]int64{} // by event: since when
		for _, h := range r.history {
			running.follow(h)
			if since, ok := waits[h.ID]; ok && h.What == history.Started {
				r.recovery = append(r.recovery, time.Duration(h.At-since))
				delete(waits, h.ID)
			}
			if h.What == history.Killed {
				for id := range running[h.Process] {
					waits[id] = h.At
				}
			}
		}
		r.within(limit, "until another handles what a killed process had")
	}
}

// inFlight has, by process, the events that it is handling.
type inFlight map[string]map[string]bool

func (f inFlight) follow(h history.Record) {
	switch h.What {
	case history.Started:
		if f[h.Process] == nil {
			f[h.Process] = map[string]bool{}
		}
		f[h.Process][h.ID] = true
	case history.Finished, history.Failed, history.Ended:
		delete(f[h.Process], h.ID)
	}
}

// wakings measures how soon after the end of a pause handlers hear that their leases are lost.
func wakings(limit time.Duration) func(*run) {
	return func(r *run) {
		resumed := map[string]int64{}
		for _, h := range r.history {
			switch h.What {
			case history.Resumed:
				resumed[h.Process] = h.At
			case history.Ended:
				if at, ok := resumed[h.Process]; ok {
					r.recovery = append(r.recovery, time.Duration(h.At-at))
				}
			}
		}
		if len(r.recovery) == 0 {
			r.note("no handler outlived the pause")
			return
		}
		r.within(r.consuming.Lease+limit, "until a handler that was paused ends")
	}
}

// noForeignFailure: who has lost a lease neither counts an attempt nor makes a dead letter.
func noForeignFailure(r *run) {
	holder := map[string]string{}
	for _, h := range r.history {
		switch h.What {
		case history.Started:
			holder[h.ID] = h.Process
		case history.Settled:
			if h.Process != holder[h.ID] && h.Text != transport.Done.String() {
				assert.Fail(r, "another than the last holder settled an event", "%+v", h)
			}
		}
	}
}

// resumes measures how soon after the server is back events are acknowledged that were published since.
func resumes(limit time.Duration) fault {
	return func(r *run) {
		healed := int64(0)
		fresh := map[string]bool{} // published since
		for _, h := range r.history {
			switch h.What {
			case history.Healed:
				healed, fresh = h.At, map[string]bool{}
			case history.Publishing:
				fresh[h.ID] = true
			case history.Settled:
				if healed > 0 && fresh[h.ID] {
					r.recovery = append(r.recovery, time.Duration(h.At-healed))
					healed = 0
				}
			}
		}
		r.within(limit, "until new events are acknowledged")
	}
}

// storedOnce: no event is in the stream twice.
func storedOnce(r *run) {
	for id, n := range r.end.Stored {
		assert.Equal(r, 1, n, "entries of %s", id)
	}
}

// unknowns notes what became of those whose outcome the publisher does not know.
func unknowns(r *run) {
	unknown, stored := 0, 0
	for _, h := range r.history {
		if h.What == history.Unknown {
			unknown++
			stored += r.end.Stored[h.ID]
		}
	}
	assert.Positive(r, unknown, "some outcomes are unknown")
	r.note("%d outcomes unknown, %d of them stored", unknown, stored)
}

// noAttemptCounted: what a drain gives back is as it was.
func noAttemptCounted(r *run) {
	for _, h := range r.history {
		if h.What == history.Started && h.Attempt+h.Redelivered != 1 {
			assert.Fail(r, "a drain has counted", "%+v", h)
		}
	}
	r.recovery = r.exits
	r.within(r.consuming.GraceOrDefault(), "until the process has ended")
}

// backPressure: publishers are told that the server is full.
func backPressure(r *run) {
	full, err := strconv.Atoi(r.publisher.said("full"))
	require.NoError(r, err)
	assert.Positive(r, full, "publishers were told that there is no room")
	r.note("%d publishes were answered with ErrNoRoom and repeated", full)
}

// letters: what cannot be handled is one dead letter each.
func letters(r *run) {
	want := map[string]bool{}
	for n := range r.n {
		if r.publishing.Kind(n).Dead() {
			want[fmt.Sprintf("p-%d", n)] = true
		}
	}
	for i := range r.promises.MaxDead {
		want[poisonID(i)] = true
	}
	for id := range want {
		assert.Equal(r, 1, r.end.Letters[id], "letters of %s", id)
	}
	var victims []string
	for id := range r.end.Letters {
		if !want[id] {
			victims = append(victims, id)
		}
	}
	assert.LessOrEqual(r, len(victims), r.mayBeVictims(), "%v are dead letters", victims)
	r.note("%d dead letters of %d", len(r.end.Letters)-len(victims), len(want))
	if r.victims > 0 {
		r.note("%d more, of events that others took with them", len(victims))
	}
}

func (r *run) mayBeVictims() int {
	if r.victims == 0 {
		return 0
	}
	return r.n / r.victims
}

// attempts: a letter tells how often the event was tried.
func attempts(r *run) {
	starts := map[string]int{}
	for _, h := range r.history {
		if h.What == history.Started {
			starts[h.ID]++
		}
	}
	r.eachLetter(func(l *transport.Letter) {
		assert.Equal(r, r.consuming.Attempts, l.Attempt, "attempts of %s (%s)", l.ID, l.Reason)
		assert.LessOrEqual(r, starts[l.ID], l.Attempt+l.Redelivered, "starts of %s", l.ID)
	})
}

func (r *run) eachLetter(f func(*transport.Letter)) {
	const page = 100
	for after := ""; ; {
		letters, err := r.tr.Letters(r.Context(), transport.Topic{Name: child.Jobs.Name()}, child.Group, after, page)
		require.NoError(r, err)
		for _, l := range letters {
			after = l.LetterID
			f(l)
		}
		if len(letters) < page {
			return
		}
	}
}

// scriptsPerTick: in a third of a lease a consumer calls so many scripts at most, however much it holds. One of them renews its
// leases.
func scriptsPerTick(limit float64) func(*run) {
	return func(r *run) {
		info, err := r.redis.Info(r.Context(), "commandstats").Result()
		require.NoError(r, err)
		_, rest, ok := strings.Cut(info, "cmdstat_evalsha:calls=")
		require.True(r, ok, info)
		calls, err := strconv.Atoi(rest[:strings.IndexByte(rest, ',')])
		require.NoError(r, err)
		ticks := float64(r.history[len(r.history)-1].At-r.history[0].At) / float64(r.consuming.Lease/3)
		each := float64(calls-r.looks) / ticks / float64(len(r.consumers))
		assert.LessOrEqual(r, each, limit, "calls of scripts")
		r.note("%.1f calls of scripts by a consumer in a third of a lease, that of renewing its leases among them", each)
	}
}

// lossReported: the consumers say each loss.
func lossReported(r *run) {
	n := 0
	for _, h := range r.history {
		if h.What == history.Loss {
			n++
		}
	}
	assert.GreaterOrEqual(r, n, r.lossy(), "reports of loss")
	r.note("%d reports of loss", n)
}

func (r *run) lossy() (n int) {
	for _, h := range r.history {
		if h.What == history.Fault && strings.HasPrefix(h.Text, "data loss") {
			n++
		}
	}
	return n
}

// waits measures how long events wait for a handler.
func waits(limit time.Duration) func(*run) {
	return func(r *run) {
		published := map[string]int64{}
		for _, h := range r.history {
			switch h.What {
			case history.Publishing:
				published[h.ID] = h.At
			case history.Started:
				if at, ok := published[h.ID]; ok {
					r.recovery = append(r.recovery, time.Duration(h.At-at))
					delete(published, h.ID)
				}
			}
		}
		r.within(limit, "from publishing to the handler")
	}
}

// punctual: no delayed event is early.
func punctual(r *run) {
	for _, h := range r.history {
		if text, ok := strings.CutPrefix(h.Text, "late "); ok && h.What == history.Effect {
			ms, err := strconv.Atoi(text)
			require.NoError(r, err)
			assert.GreaterOrEqual(r, ms, 0, "%s is early", h.ID)
			r.recovery = append(r.recovery, time.Duration(ms)*time.Millisecond)
		}
	}
	r.note("recovery is how late a first delivery was")
}

// quantile of what was measured; 0 if nothing was.
func quantile(ds []time.Duration, q float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	ds = slices.Sorted(slices.Values(ds))
	return ds[min(int(q*float64(len(ds))), len(ds)-1)]
}
