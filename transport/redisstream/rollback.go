package redisstream

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// A failover to a replica that was behind takes back what the master had said, and everything on the server with it: the replica
// does not know that it once had more. So each process remembers what it has seen of a stream, and scripts/tend.lua looks whether
// that is still there. What nobody here has seen, nobody here can miss.
//
// The stream may have newer entries all the same: while one server takes over from another that still runs, some processes use the
// one and some the other, and one process both. So how far it has been seen is not enough, and no process knows all that is lost. Each
// reports what it knows beyond what others have reported; up to where that is stands in the group's cursor.

// A position is an entry id as a number; the zero value is before the first.
type position struct{ ms, seq uint64 }

func positionOf(id string) (p position) {
	p.ms, p.seq, _ = parseEntryID(id)
	return p
}

func (p position) String() string {
	return strconv.FormatUint(p.ms, 10) + "-" + strconv.FormatUint(p.seq, 10)
}

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.ms, q.ms), cmp.Compare(p.seq, q.seq))
}

func (p position) less(q position) bool { return p.compare(q) < 0 }

func (p position) max(q position) position {
	if p.less(q) {
		return q
	}
	return p
}

// A trail is what was seen of a stream, in order: the newest of it and, with ever greater gaps, some of what came before. What is still
// there of it tells where a loss begins.
type trail []mark

type mark struct {
	at   position
	kept bool // the connection broke here: what comes after it may come from another server
}

const (
	trailGap  = 20 // milliseconds between the newest marks
	trailMost = 64
	keptMost  = 8
)

// add notes p, if it is beyond what was seen.
func (tr *trail) add(p position) {
	n := len(*tr)
	if n > 0 && !(*tr)[n-1].at.less(p) {
		return
	}
	if n > 1 && !(*tr)[n-1].kept && p.ms-(*tr)[n-2].at.ms < trailGap {
		(*tr)[n-1].at = p
		return
	}
	if n >= trailMost {
		tr.thin()
	}
	*tr = append(*tr, mark{at: p})
}

// keep has the newest mark stay, whatever comes after it.
func (tr *trail) keep() {
	if n := len(*tr); n > 0 {
		(*tr)[n-1].kept = true
	}
}

// thin forgets marks where the gap is then no more than a third of the age, and the oldest, but not the newest and what is kept.
func (tr *trail) thin() {
	all, few, kept := *tr, make(trail, 0, trailMost), 0
	newest := all[len(all)-1].at.ms
	for i, m := range slices.Backward(all) {
		if m.kept = m.kept && kept < keptMost; m.kept {
			kept++
		}
		n := len(few)
		needed := n == 0 || i == 0 || few[n-1].at.ms-all[i-1].at.ms > (newest-all[i-1].at.ms)/3
		if m.kept || needed && n < trailMost*3/4 {
			few = append(few, m)
		}
	}
	slices.Reverse(few)
	*tr = few
}

// forget removes what is known to be lost.
func (tr *trail) forget(from, to position) {
	*tr = slices.DeleteFunc(*tr, func(m mark) bool { return !m.at.less(from) && !to.less(m.at) })
}

// A sighting is how far a subscription has read the topic's stream.
type sighting struct {
	mu    sync.Mutex
	read  position
	trail trail
}

// note takes down what a read brought.
func (si *sighting) note(es []entry) {
	for i := len(es) - 1; i >= 0; i-- { // in order, so that the last will do
		if es[i].src == fromTopic {
			si.mu.Lock()
			p := positionOf(es[i].id)
			si.read = si.read.max(p)
			si.trail.add(p)
			si.mu.Unlock()
			return
		}
	}
}

// doubt says that the server may be another from now on. It returns false if nothing has been read.
func (si *sighting) doubt() bool {
	si.mu.Lock()
	defer si.mu.Unlock()
	si.trail.keep()
	return si.read != position{}
}

func (si *sighting) get() (read position, seen trail) {
	si.mu.Lock()
	defer si.mu.Unlock()
	return si.read, slices.Clone(si.trail)
}

// checked ends what was known when get returned read: the group stands there, and what lies between from and to is lost.
func (si *sighting) checked(read, stands, from, to position) {
	si.mu.Lock()
	defer si.mu.Unlock()
	si.trail.forget(from, to)
	if si.read == read && stands.less(read) {
		si.read = stands
	}
}

// reconnected has the stream looked at soon: after a failover it may have lost what was read.
func (s *subscription) reconnected() {
	if s.seen.doubt() {
		s.t.tends.wake(s.t, s.keys.stream, time.Now().Add(jittered(lookSoon)))
	}
}

// lookSoon is how soon after a broken connection.
const lookSoon = 200 * time.Millisecond

// A sight is what subscriptions of one topic had seen when a script was called.
type sight struct {
	seen   []position // what anybody here has seen of the stream, in order
	last   position   // how far it went when it was last tended
	added  int64      // how many entries it had ever had then
	groups map[string]position
	subs   map[*subscription]position
}

// sightMost bounds what a script looks for.
const sightMost = 256

// sightOf collects what is known.
func (e *tended) sightOf() sight {
	si := sight{last: e.last, added: e.added, groups: map[string]position{}, subs: map[*subscription]position{}}
	all := slices.Clone(e.lasts)
	for s := range e.subs {
		read, seen := s.seen.get()
		si.subs[s] = read
		si.groups[s.group.Name] = si.groups[s.group.Name].max(read)
		all = append(all, seen...)
	}
	slices.SortFunc(all, func(a, b mark) int { return a.at.compare(b.at) })
	all = slices.CompactFunc(all, func(a, b mark) bool { return a.at == b.at })
	if len(all) > sightMost {
		all.thin()
	}
	for _, m := range all {
		si.seen = append(si.seen, m.at)
	}
	return si
}

// marks are what a script is to look for.
func (si *sight) marks() string {
	var b strings.Builder
	for _, p := range si.seen {
		b.WriteString(p.String() + " ")
	}
	return b.String()
}

// checked notes how far the stream goes, where its groups stand, and what is gone, by the script that got si.
func (td *tending) checked(e *tended, si sight, last string, added int64, stands map[string]position, gone []any) {
	td.mu.Lock()
	defer td.mu.Unlock()
	from, to := positionOf(text(at(gone, 0))), positionOf(text(at(gone, 1)))
	e.lasts.forget(from, to)
	e.last, e.added = positionOf(last), added
	e.lasts.add(e.last)
	for s, read := range si.subs {
		if at, ok := stands[s.group.Name]; ok {
			s.seen.checked(read, at, from, to)
		}
	}
}

// wentBack reports that the server knows less than it did.
func (s *subscription) wentBack(g []any) {
	var loss *transport.LossError
	from, to, n := text(at(g, 4)), text(at(g, 5)), int(number(at(g, 6)))
	switch text(at(g, 3)) {
	case "stream":
		loss = s.loss("the stream lacks entries that it had, as after a failover to a replica that was behind", n, from, to)
	case "group":
		loss = s.loss("the group stands before where it stood, as after a failover to a replica that was behind: "+
			"messages may come again", 0, from, to)
	default:
		return
	}
	s.warn(loss)
}
