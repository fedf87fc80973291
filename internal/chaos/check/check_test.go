package check_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/internal/chaos/check"
	"github.com/typedbus/typedbus/internal/chaos/history"
)

func TestLegalHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLegal(t)
		r := check.Check(l.records, l.promise, l.end)
		assert.Empty(t, r.Breaches)
		assert.Equal(t, r.Duplicates, r.Allowed)
	})
}

// Each mutation breaks one promise to the event with this id.
var mutations = map[string]struct {
	invariant string
	mutate    func(l *legal, id string)
}{
	"lost": {check.NothingLost, func(l *legal, id string) { l.dropHandling(id) }},
	"lost after a failure": {check.NothingLost, func(l *legal, id string) {
		l.set(id, history.Finished, func(r *history.Record) { r.What = history.Failed })
		l.set(id, history.Settled, func(r *history.Record) { r.Text = "dead" })
	}},
	"lost by a killed consumer": {check.NothingLost, func(l *legal, id string) {
		l.drop(id, history.Finished, history.Settled)
		l.drop(id, history.Started)
		l.insert(2, "killed", history.Started, id, "")
		l.insert(ms, "killed", history.Killed, "", "")
	}},
	"stored twice": {check.UnknownAtMost, func(l *legal, id string) { l.end.Stored[id] = 2 }},
	"stored against its word": {check.UnknownAtMost, func(l *legal, id string) {
		l.set(id, history.Published, func(r *history.Record) { r.What = history.NotPublished })
	}},
	"handled again": {check.DuplicatesBound, func(l *legal, id string) {
		l.drop(id, history.Settled)
		l.insert(3, "other", history.Started, id, "")
		l.insert(4, "other", history.Finished, id, "")
	}},
	"begun when done": {check.DoneIsDone, func(l *legal, id string) {
		l.insert(1, "other", history.Started, id, "")
		l.insert(1, "other", history.Finished, id, "")
	}},
	"a retry when done": {check.DoneIsDone, func(l *legal, id string) {
		l.insert(100*lease, "consumer", history.Started, id, "")
		l.insert(100*lease, "consumer", history.Failed, id, "")
	}},
	"two at once": {check.OneAtATime, func(l *legal, id string) {
		at := l.find(id, history.Finished).At
		l.insertAt(at-1, "other", history.Started, id, "")
		l.insertAt(at+1, "other", history.Failed, id, "")
	}},
	"two at once, after a short pause": {check.OneAtATime, func(l *legal, id string) {
		at := l.find(id, history.Finished).At
		l.insertAt(at-4, "consumer", history.Paused, "", "")
		l.insertAt(at-3, "consumer", history.Resumed, "", "")
		l.insertAt(at-2, "other", history.Started, id, "")
		l.insertAt(at+1, "other", history.Finished, id, "")
	}},
	"two letters": {check.DeadOnce, func(l *legal, id string) { l.end.Letters[id] = 2 }},
	"left pending": {check.NothingLeft, func(l *legal, id string) {
		l.drop(id, history.Finished, history.Settled)
		l.end.Pending = 1
	}},
	"handled and left pending": {check.NothingLeft, func(l *legal, id string) {
		l.drop(id, history.Settled)
		l.end.Pending = 1
	}},
	"two effects": {check.EffectOnce, func(l *legal, id string) { l.insert(2, "consumer", history.Effect, id, "") }},
	"no effect":   {check.EffectOnce, func(l *legal, id string) { l.drop(id, history.Effect) }},
	"made up":     {check.NothingMadeUp, func(l *legal, id string) { l.drop(id, history.Publishing, history.Published) }},
	"handled before it was published": {check.NothingMadeUp, func(l *legal, id string) {
		at := l.find(id, history.Started).At
		l.set(id, history.Publishing, func(r *history.Record) { r.At = at + 1 })
		l.set(id, history.Published, func(r *history.Record) { r.At = at + 2 })
	}},
}

func TestEveryBreachIsNamed(t *testing.T) {
	for name, m := range mutations {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				l := drawLegal(t)
				l.strict(m.invariant)
				id := rapid.SampledFrom(l.fine).Draw(t, "victim")
				m.mutate(l, id)
				l.sort()
				r := check.Check(l.records, l.promise, l.end)
				require.Len(t, r.Breaches, 1)
				require.Equal(t, m.invariant, r.Breaches[0].Invariant, r.Breaches[0].Text)
				if !(m.invariant == check.NothingLeft) {
					require.Equal(t, []string{id}, r.Breaches[0].Events, r.Breaches[0].Text)
				}
				require.Contains(t, r.Breaches[0].Events, id)
			})
		})
	}
}

// strict takes the allowances back that would excuse the fine events, with the events that need them.
func (l *legal) strict(invariant string) {
	l.promise.MayLose, l.promise.MayRewind = false, false
	l.without("data loss")
	if invariant == check.EffectOnce {
		l.promise.OneEffect = true
		effects := map[string]bool{}
		for _, r := range slices.Clone(l.records) {
			if r.What == history.Finished && !effects[r.ID] {
				effects[r.ID] = true
				r.What = history.Effect
				l.records = append(l.records, r)
			}
		}
	}
}

// without takes out the events of the ways gone and forgotten.
func (l *legal) without(fault string) {
	bad := map[string]bool{}
	for i, r := range l.records {
		if r.What == history.Fault && len(r.Text) > len(fault) && r.Text[:len(fault)] == fault {
			bad[l.records[i-1].ID] = true
		}
	}
	l.records = slices.DeleteFunc(l.records, func(r history.Record) bool {
		return bad[r.ID] || r.Process == "server"
	})
	for id := range bad {
		delete(l.end.Stored, id)
	}
}

func (l *legal) dropHandling(id string) {
	l.drop(id, history.Started, history.Finished, history.Settled)
}

func (l *legal) drop(id string, whats ...history.What) {
	l.records = slices.DeleteFunc(l.records, func(r history.Record) bool { return r.ID == id && slices.Contains(whats, r.What) })
}

func (l *legal) find(id string, what history.What) *history.Record {
	i := slices.IndexFunc(l.records, func(r history.Record) bool { return r.ID == id && r.What == what })
	return &l.records[i]
}

func (l *legal) set(id string, what history.What, f func(*history.Record)) { f(l.find(id, what)) }

// insert adds a record some time after the last of the event.
func (l *legal) insert(after int64, process string, what history.What, id, text string) {
	var last int64
	for _, r := range l.records {
		if r.ID == id || id == "" && r.Process == process {
			last = max(last, r.At)
		}
	}
	l.insertAt(last+after, process, what, id, text)
}

func (l *legal) insertAt(at int64, process string, what history.What, id, text string) {
	l.records = append(l.records, history.Record{At: at, Process: process, What: what, ID: id, Text: text})
}

func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3, 50).Draw(t, "events")
		l := &legal{t: t, now: 1, end: check.End{Stored: map[string]int{}}, promise: check.Promises{Lease: lease, Ordered: true}}
		for i := range n {
			l.publish(fmt.Sprint(i))
			l.records[len(l.records)-2].Key = fmt.Sprint("key-", i%2)
		}
		late := rapid.IntRange(0, n-3).Draw(t, "late")
		for i := range n {
			if i != late {
				l.handle(fmt.Sprint(i), "consumer")
			}
			if i == late+2 {
				l.handle(fmt.Sprint(late), "consumer")
			}
		}
		r := check.Check(l.records, l.promise, l.end)
		require.Len(t, r.Breaches, 1)
		assert.Equal(t, check.OrderKept, r.Breaches[0].Invariant)
		assert.Equal(t, []string{fmt.Sprint(late)}, r.Breaches[0].Events)

		l.set(fmt.Sprint(late), history.Started, func(r *history.Record) { r.Redelivered = 1 })
		l.set(fmt.Sprint(late), history.Finished, func(r *history.Record) { r.Redelivered = 1 })
		assert.Empty(t, check.Check(l.records, l.promise, l.end).Breaches, "what comes again may come late")
	})
}

func TestNoRepeatsAtAll(t *testing.T) {
	l := &legal{now: 1, end: check.End{Stored: map[string]int{}}, promise: check.Promises{Lease: lease}}
	l.drained("a")
	r := check.Check(l.records, l.promise, l.end)
	assert.Empty(t, r.Breaches)
	assert.Equal(t, 1, r.Duplicates)
	l.promise.NoRepeats = true
	r = check.Check(l.records, l.promise, l.end)
	require.Len(t, r.Breaches, 1)
	assert.Equal(t, check.DuplicatesBound, r.Breaches[0].Invariant)
	assert.Equal(t, []string{"a"}, r.Breaches[0].Events)
}

func TestMoreDeadThanMayBe(t *testing.T) {
	l := &legal{now: 1, end: check.End{Stored: map[string]int{}, Letters: map[string]int{}}, promise: check.Promises{Lease: lease}}
	l.dead("a")
	r := check.Check(l.records, l.promise, l.end)
	require.Len(t, r.Breaches, 1)
	assert.Equal(t, check.DeadOnce, r.Breaches[0].Invariant)
}

func TestAnEmptyHistory(t *testing.T) {
	assert.Empty(t, check.Check(nil, check.Promises{}, check.End{}))
	r := check.Check(nil, check.Promises{}, check.End{Pending: 3})
	require.Len(t, r.Breaches, 1)
	assert.Equal(t, check.NothingLeft, r.Breaches[0].Invariant)
}
