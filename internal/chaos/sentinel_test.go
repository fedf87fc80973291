package chaos

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/transport"
)

const (
	cutOff   = "data loss: the replica is cut off"
	beheaded = "data loss: kill -9 of the master"
	replaced = "data loss: the master is replaced while it runs"
)

// promotion kills the master, and starts it again as a replica once its own is in charge.
func promotion(r *run) {
	r.sentinel.Master.Kill()
	r.inject(history.Fault, "master", beheaded)
	r.sentinel.AwaitFailover()
	r.heal("master", beheaded)
	r.sentinel.Rejoin()
}

// handover has the replica take over from a master that does not know of it at first.
func handover(r *run) {
	r.inject(history.Fault, "master", replaced)
	r.sentinel.HandOver()
	r.heal("master", replaced)
}

// severed is a failover to a replica that has received nothing for a time.
func severed(length time.Duration) fault {
	return func(r *run) {
		link := r.sentinel.Link()
		if r.rand.IntN(2) == 0 {
			link.BlackHole(true)
		} else {
			link.Refuse(true)
			link.Cut()
		}
		r.log.Log(history.Record{What: history.Fault, Process: "replica", Text: cutOff})
		r.pause(length)
		promotion(r)
		r.heal("replica", cutOff)
		link.BlackHole(false)
		link.Refuse(false)
	}
}

// outages measures how long it takes after a kill until an event is published and acknowledged of which neither was before.
func outages(limit time.Duration) func(*run) {
	return func(r *run) {
		killed := int64(0)
		steps := map[string]int{}
		for _, h := range r.history {
			switch {
			case h.What == history.Fault && h.Text == beheaded:
				killed, steps = h.At, map[string]int{}
			case killed > 0 && (h.What == history.Published || h.What == history.Settled && h.Text == transport.Done.String()):
				if steps[h.ID] |= 1 << len(h.What); steps[h.ID] == 1<<len(history.Published)|1<<len(history.Settled) {
					r.recovery = append(r.recovery, time.Duration(h.At-killed))
					killed = 0
				}
			}
		}
		r.within(limit, "until new events are published and acknowledged again")
	}
}

// deserted measures for how long a master that is being replaced is published to.
func deserted(limit time.Duration) func(*run) {
	return func(r *run) {
		for _, b := range rollbacksOf(r.history, r.end.Stored) {
			if n := len(b.removed); n > 0 {
				r.recovery = append(r.recovery, time.Duration(b.removed[n-1].to-b.from))
			}
		}
		r.within(limit, "until nobody publishes to the old master")
	}
}

// shortages notes how many publishers were told that no replica has their event.
func shortages(r *run) {
	n, kept := 0, 0
	for _, h := range r.history {
		if h.What == history.Unknown && strings.Contains(h.Text, "0 of 1 replicas have it") {
			n++
			kept += r.end.Stored[h.ID]
		}
	}
	assert.Positive(r, n, "publishers were told that no replica has it")
	r.note("%d publishes were answered with a DurabilityError, %d of these are stored", n, kept)
}

// A rollback is what a failover took back.
type rollback struct {
	from, to int64 // of the unreplicated window
	removed  []*birth
	ranges   [][2]int64 // that consumers reported, in milliseconds of the server's clock
}

// A birth is when an event was confirmed to be stored, and who has seen it before it was gone.
type birth struct {
	id         string
	from, to   int64
	seen, done bool
}

// rollbacks: a failover takes back nothing older than the window in which nothing was replicated. Where consumers have seen any of it,
// they report each event of it, and at least as many as are lost.
func rollbacks(r *run) {
	ahead := time.Now().UnixNano() - history.Now() // of the wall clock
	var sum tally
	for i, b := range rollbacksOf(r.history, r.end.Stored) {
		n := b.count(r, ahead)
		r.progress("failover %d took back %+v, reported %v", i+1, n, b.ranges)
		if n.seen > 0 {
			assert.NotEmpty(r, b.ranges, "reports that failover %d took back %d events that consumers had seen", i+1, n.seen)
			assert.Zero(r, n.hidden, "events that consumers had seen, that failover %d took back, and that nobody reported", i+1)
			assert.GreaterOrEqual(r, n.told, n.lost, "failover %d lost %d events, and %d were reported", i+1, n.lost, n.told)
		}
		sum = tally{gone: sum.gone + n.gone, seen: sum.seen + n.seen, told: sum.told + n.told, lost: sum.lost + n.lost}
	}
	r.note("%d confirmed events taken back, %d of which consumers had seen; %d never handled, %d reported", sum.gone, sum.seen, sum.lost, sum.told)
}

// A tally counts confirmed events that a failover took back: all, those that a handler began, those in the ranges that consumers
// reported, those that a handler began and nobody reported, and those that nobody ever handled.
type tally struct{ gone, seen, told, hidden, lost int }

func (b *rollback) count(r *run, ahead int64) (n tally) {
	n.gone = len(b.removed)
	for _, e := range b.removed {
		assert.GreaterOrEqual(r, e.to, b.from-int64(2*time.Second), "%s had time to reach the replica", e.id)
		told := b.told(e, ahead)
		if told {
			n.told++
		}
		if e.seen {
			n.seen++
		}
		if e.seen && !told {
			n.hidden++
		}
		if !e.done {
			n.lost++
		}
	}
	return n
}

// told says whether a consumer reported a range that e may be in.
func (b *rollback) told(e *birth, ahead int64) bool {
	const ms = int64(time.Millisecond)
	for _, r := range b.ranges {
		if (e.to+ahead)/ms+1 >= r[0] && (e.from+ahead)/ms <= r[1] {
			return true
		}
	}
	return false
}

// rollbacksOf finds the failovers of a history, and what is not stored since.
func rollbacksOf(h []history.Record, stored map[string]int) (all []*rollback) {
	births := map[string]*birth{}
	var order []*birth
	var now *rollback
	for _, r := range h {
		e := births[r.ID]
		switch {
		case r.What == history.Fault && strings.HasPrefix(r.Text, "data loss"):
			if now == nil || now.to != 0 {
				now = &rollback{from: r.At}
				all = append(all, now)
			}
		case r.What == history.Healed && (r.Text == beheaded || r.Text == replaced):
			now.to = r.At
			for _, e := range order {
				if stored[e.id] == 0 {
					now.removed = append(now.removed, e)
				}
			}
			order = nil
		case r.What == history.Loss && now != nil:
			now.report(r.Text)
		case r.What == history.Publishing && e == nil:
			births[r.ID] = &birth{id: r.ID, from: r.At}
		case r.What == history.Published:
			e.to = r.At
			order = append(order, e)
		case r.What == history.Started && e != nil:
			e.seen = true
		case r.What == history.Finished && e != nil:
			e.done = true
		}
	}
	return all
}

var positions = regexp.MustCompile(`the stream lacks .*positions (\d*)-?\d* to (\d*)-?\d*\)`)

func (b *rollback) report(text string) {
	if m := positions.FindStringSubmatch(text); m != nil {
		from, _ := strconv.ParseInt(m[1], 10, 64)
		to, _ := strconv.ParseInt(m[2], 10, 64)
		b.ranges = append(b.ranges, [2]int64{from, to})
	}
}
