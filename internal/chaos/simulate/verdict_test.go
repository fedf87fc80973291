package simulate_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/typedbus/typedbus/internal/chaos/check"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/transport"
)

// end is what the broker holds when all is over.
type end struct {
	stored, outputs, letters map[string]int // by event
	lag                      transport.Lag
}

func (w *world) look() (e end) {
	ctx := context.Background()
	topic := transport.Topic{Name: orders.Name()}
	e.stored, e.outputs, e.letters = w.audit(orders.Name()), w.audit(outputs.Name()), map[string]int{}
	ls, err := w.broker.Letters(ctx, topic, group, "", 10_000)
	if err != nil {
		w.breach("letters: %v", err)
	}
	for _, l := range ls {
		e.letters[l.ID]++
	}
	if e.lag, err = w.broker.Lag(ctx, topic, group); err != nil {
		w.breach("lag: %v", err)
	}
	return e
}

// audit counts what is stored in a topic.
func (w *world) audit(topic string) map[string]int {
	counts := map[string]int{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	sub, err := w.broker.Subscribe(ctx, transport.Topic{Name: topic}, transport.Group{Name: "audit"})
	if err != nil {
		w.breach("audit: %v", err)
		return counts
	}
	for {
		ds, err := sub.Receive(ctx, 1000)
		if err != nil {
			sub.Close(context.Background())
			return counts
		}
		for _, d := range ds {
			counts[d.ID]++
		}
	}
}

// judgeAll looks at a run that is over.
func (w *world) judgeAll() {
	e := w.look()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judgeHooks()
	for id := range e.stored {
		if _, ok := w.published[id]; !ok {
			w.note("%s is stored, and nobody has published it", id)
		}
	}
	slices.SortStableFunc(w.history, func(a, b history.Record) int { return cmp.Compare(a.At, b.At) })
	finished := w.finished()
	for id, is := range w.published {
		w.judgeEvent(id, is, e, finished[id])
	}
	r := check.Check(w.once(e), check.Promises{Lease: int64(w.lease), MaxDead: -1}, check.End{
		Letters: w.lettersOnce(e), Pending: e.lag.Pending, Delayed: e.lag.Delayed + e.lag.Waiting, Undelivered: e.lag.Undelivered})
	for _, b := range r.Breaches {
		w.note("%s: %s: %v", b.Invariant, b.Text, b.Events)
	}
}

// once is the history of what is stored once at most, and was not done by who had lost the lease: copies of an event are not told
// apart there, nor that a handler began what had long waited in memory. The rest is left to judgeEvent.
func (w *world) once(e end) (h []history.Record) {
	for _, r := range w.history {
		if e.stored[r.ID] <= 1 && !w.overtaken[r.ID] {
			h = append(h, r)
		}
	}
	return h
}

func (w *world) lettersOnce(e end) map[string]int {
	letters := maps.Clone(e.letters)
	maps.DeleteFunc(letters, func(id string, _ int) bool { return e.stored[id] > 1 || w.overtaken[id] })
	return letters
}

func (w *world) finished() map[string]int {
	n := map[string]int{}
	for _, r := range w.history {
		if r.What == history.Finished {
			n[r.ID]++
		}
	}
	return n
}

// judgeEvent: each stored copy of an event has ended once, with all that it staged.
func (w *world) judgeEvent(id string, is publication, e end, finished int) {
	stored, dead, out := e.stored[id], e.letters[id], e.outputs["output of "+id]
	if stored < is.sure || stored > is.sure+is.unknown {
		w.note("%s: published %d times for sure and perhaps %d more, stored %d times", id, is.sure, is.unknown, stored)
	}
	ends, least := out+dead, stored
	if w.claims != nil { // a copy is acknowledged for the sake of another
		least = min(stored, 1)
	}
	if !stages(id) {
		ends, least = dead, 0
		if out > 0 || finished == 0 && dead < stored {
			w.note("%s: finished %d times, %d outputs, %d dead letters, stored %d times", id, finished, out, dead, stored)
		}
	}
	if ends > stored || ends < least {
		w.note("%s: %d outputs and %d dead letters, stored %d times", id, out, dead, stored)
	}
	if !w.disturbed() && finished != stored-dead {
		w.note("%s: finished %d times without a reason, %d dead letters, stored %d times", id, finished, dead, stored)
	}
}

// disturbed says whether anything happened after which events are handled again.
func (w *world) disturbed() bool {
	for _, f := range []fault{receiveUnheard, leaseLost, settleFails, settleUnheard, settlePartly, settleSlow, settleTooLate,
		settleRefused, closeFails, closeSlow, handlerDeaf, brokerAway, processKilled, processStalled} {
		if w.struck[f].Load() > 0 {
			return true
		}
	}
	return w.limited
}
