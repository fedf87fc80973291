package check_test

import (
	"cmp"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/internal/chaos/check"
	"github.com/typedbus/typedbus/internal/chaos/history"
)

const (
	ms    = int64(1_000_000)
	lease = 2000 * ms
)

// legal draws the history of a run in which the bus kept every promise, though everything went wrong. Each event goes its own way,
// in a time of its own, with a consumer of its own for each run that something befalls.
type legal struct {
	t       *rapid.T
	records []history.Record
	end     check.End
	promise check.Promises
	fine    []string // events that were published, handled once and settled, in order, with nothing unusual
	now     int64
}

const calm = 20 * lease // between two events that something befalls

func drawLegal(t *rapid.T) *legal {
	l := &legal{t: t, now: 1, promise: check.Promises{Lease: lease, MaxDead: -1, MayLose: true, MayRewind: true},
		end: check.End{Stored: map[string]int{}, Letters: map[string]int{}}}
	ways := []func(string){l.plain, l.retried, l.killed, l.paused, l.pausedBefore, l.answerLost, l.dead, l.unknown, l.unknownTwice,
		l.copyKilled, l.copyDrained, l.notPublished, l.publisherKilled, l.drained, l.gone, l.forgotten}
	fates := rapid.SliceOfN(rapid.IntRange(-len(ways), len(ways)-1), 3, 40).Draw(t, "fates")
	for i, fate := range append([]int{0, 0, 0}, fates...) {
		ways[max(fate, 0)](fmt.Sprint("event-", i))
		l.now += calm
	}
	l.sort()
	return l
}

func (l *legal) sort() {
	slices.SortStableFunc(l.records, func(a, b history.Record) int { return cmp.Compare(a.At, b.At) })
}

func (l *legal) log(after int64, process string, what history.What, id, text string) {
	l.now += after
	l.records = append(l.records, history.Record{At: l.now, Process: process, What: what, ID: id, Text: text})
}

// numbered is log for a delivery that is not the first.
func (l *legal) numbered(after int64, process string, what history.What, id, text string, attempt, redelivered int) {
	l.log(after, process, what, id, text)
	r := &l.records[len(l.records)-1]
	r.Attempt, r.Redelivered = attempt, redelivered
}

func (l *legal) publish(id string) {
	l.log(0, "publisher", history.Publishing, id, "")
	l.log(ms, "publisher", history.Published, id, "")
	l.end.Stored[id] = 1
}

func (l *legal) handle(id, process string) {
	l.log(ms, process, history.Started, id, "")
	l.log(ms, process, history.Finished, id, "")
	l.log(ms, process, history.Settled, id, "done")
}

func (l *legal) plain(id string) {
	l.publish(id)
	l.handle(id, "consumer")
	l.fine = append(l.fine, id)
}

func (l *legal) retried(id string) {
	l.publish(id)
	l.numbered(ms, "consumer", history.Started, id, "", 1, 0)
	l.numbered(ms, "consumer", history.Failed, id, "no", 1, 0)
	l.numbered(ms, "consumer", history.Settled, id, "failed", 1, 0)
	l.numbered(ms, "consumer", history.Started, id, "", 2, 0)
	l.numbered(ms, "consumer", history.Finished, id, "", 2, 0)
	l.numbered(ms, "consumer", history.Settled, id, "done", 2, 0)
}

func (l *legal) killed(id string) {
	l.publish(id)
	l.log(ms, "killed-"+id, history.Started, id, "")
	if rapid.Bool().Draw(l.t, "finished") {
		l.log(ms, "killed-"+id, history.Finished, id, "")
	}
	l.log(ms, "killed-"+id, history.Killed, "", "")
	l.now += lease
	l.handle(id, "consumer")
}

// paused: another takes it over, and done is done, whoever did it.
func (l *legal) paused(id string) {
	p := "paused-" + id
	l.publish(id)
	l.log(ms, p, history.Started, id, "")
	l.log(ms, p, history.Paused, "", "")
	queued := rapid.Bool().Draw(l.t, "queued") // the other has received it, and begins when it is done
	if !queued {
		l.log(lease, "consumer", history.Started, id, "")
	}
	l.log(lease, p, history.Resumed, "", "")
	l.log(ms, p, history.Finished, id, "")
	l.log(ms, p, history.Settled, id, "done")
	if queued {
		l.log(ms, "consumer", history.Started, id, "")
	}
	l.log(ms, "consumer", history.Finished, id, "")
	l.log(ms, "consumer", history.Settled, id, "done")
}

// pausedBefore: it was received before the pause, and is begun before the loss is noticed.
func (l *legal) pausedBefore(id string) {
	p := "paused-" + id
	l.publish(id)
	l.log(ms, p, history.Paused, "", "")
	l.now += lease
	l.handle(id, "consumer")
	l.log(ms, p, history.Resumed, "", "")
	l.log(ms, p, history.Started, id, "")
	l.log(ms, p, history.Ended, id, "transport: lease lost")
	l.log(ms, p, history.Finished, id, "")
	l.log(ms, p, history.Refused, id, "done")
}

func (l *legal) answerLost(id string) {
	l.publish(id)
	l.log(ms, "cut-"+id, history.Started, id, "")
	l.log(ms, "network", history.Fault, "", "cut")
	l.log(ms, "cut-"+id, history.Finished, id, "")
	short := rapid.Bool().Draw(l.t, "short")
	if short {
		l.log(ms, "network", history.Healed, "", "cut")
	}
	l.now += lease
	l.handle(id, "consumer")
	if !short {
		l.log(ms, "network", history.Healed, "", "cut")
	}
	l.log(ms, "cut-"+id, history.Refused, id, "done")
}

func (l *legal) dead(id string) {
	l.publish(id)
	l.log(ms, "consumer", history.Started, id, "")
	l.log(ms, "consumer", history.Failed, id, "no")
	l.log(ms, "consumer", history.Settled, id, "dead")
	l.end.Letters[id] = 1
}

func (l *legal) unknown(id string) {
	l.log(0, "publisher", history.Publishing, id, "")
	l.log(ms, "publisher", history.Unknown, id, "")
	if rapid.Bool().Draw(l.t, "stored") {
		l.end.Stored[id] = 1
		l.handle(id, "consumer")
	}
}

func (l *legal) unknownTwice(id string) {
	l.publishTwice(id)
	if rapid.Bool().Draw(l.t, "one after the other") {
		l.handle(id, "one")
		l.handle(id, "consumer")
		return
	}
	l.log(ms, "one", history.Started, id, "")
	l.handle(id, "consumer")
	l.log(ms, "one", history.Finished, id, "")
	l.log(ms, "one", history.Settled, id, "done")
}

func (l *legal) publishTwice(id string) {
	l.log(0, "publisher", history.Publishing, id, "")
	l.log(ms, "publisher", history.Unknown, id, "")
	l.publish(id)
	l.end.Stored[id] = 2
}

// copyKilled: of the two entries of an event one comes again, after the other.
func (l *legal) copyKilled(id string) {
	l.publishTwice(id)
	l.log(ms, "killed-"+id, history.Started, id, "")
	l.log(ms, "killed-"+id, history.Finished, id, "")
	l.log(ms, "killed-"+id, history.Killed, "", "")
	l.handle(id, "consumer")
	l.now += lease
	l.handle(id, "consumer")
}

// copyDrained: a drain gives back the one of two entries that is not handled yet.
func (l *legal) copyDrained(id string) {
	p := "drained-" + id
	l.publishTwice(id)
	l.log(ms, p, history.Started, id, "")
	l.log(ms, p, history.Started, id, "")
	l.log(ms, p, history.Finished, id, "")
	l.log(ms, p, history.Settled, id, "done")
	l.log(ms, p, history.Ended, id, "bus: draining: the grace is over")
	l.handle(id, "consumer")
	l.log(ms, p, history.Finished, id, "")
}

func (l *legal) notPublished(id string) {
	l.log(0, "publisher", history.Publishing, id, "")
	l.log(ms, "publisher", history.NotPublished, id, "")
}

func (l *legal) publisherKilled(id string) {
	if rapid.Bool().Draw(l.t, "refused before") {
		l.notPublished(id)
	}
	l.log(0, "publisher-"+id, history.Publishing, id, "")
	l.log(ms, "publisher-"+id, history.Killed, "", "")
	l.handle(id, "consumer")
}

func (l *legal) drained(id string) {
	l.publish(id)
	l.log(ms, "drained-"+id, history.Started, id, "")
	l.log(ms, "drained-"+id, history.Ended, id, "bus: draining: the grace is over")
	l.handle(id, "consumer")
	l.log(ms, "drained-"+id, history.Finished, id, "")
}

func (l *legal) gone(id string) {
	l.publish(id)
	l.log(ms, "server", history.Fault, "", "data loss: killed")
	l.log(ms, "server", history.Healed, "", "data loss: killed")
}

func (l *legal) forgotten(id string) {
	l.publish(id)
	l.handle(id, "consumer")
	l.log(ms, "server", history.Fault, "", "data loss: failover")
	l.log(ms, "server", history.Healed, "", "data loss: failover")
	l.handle(id, "consumer")
}
