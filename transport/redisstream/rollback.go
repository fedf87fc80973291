package redisstream

import (
	"strconv"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// A failover to a replica that was behind takes back what the master had said, and everything on the server with it: the replica
// does not know that it once had more. So each process remembers how far it has seen a stream, and scripts/tend.lua looks whether
// that is still there. What nobody here has seen, nobody here can miss.

// A position is an entry id as a number; the zero value is before the first.
type position struct{ ms, seq uint64 }

func positionOf(id string) (p position) {
	p.ms, p.seq, _ = parseEntryID(id)
	return p
}

func (p position) String() string {
	return strconv.FormatUint(p.ms, 10) + "-" + strconv.FormatUint(p.seq, 10)
}

func (p position) less(q position) bool { return p.ms < q.ms || p.ms == q.ms && p.seq < q.seq }

func (p position) max(q position) position {
	if p.less(q) {
		return q
	}
	return p
}

// A sighting is how far a subscription has read the topic's stream.
type sighting struct {
	mu      sync.Mutex
	read    position
	suspect position // read before the connection broke, and not looked for since; zero if there is none
}

// note takes down what a read brought.
func (si *sighting) note(es []entry) {
	for i := len(es) - 1; i >= 0; i-- { // in order, so that the last will do
		if es[i].src == fromTopic {
			si.mu.Lock()
			si.read = si.read.max(positionOf(es[i].id))
			si.mu.Unlock()
			return
		}
	}
}

// doubt says that the server may be another from now on. It returns false if nothing has been read.
func (si *sighting) doubt() bool {
	si.mu.Lock()
	defer si.mu.Unlock()
	si.suspect = si.read
	return si.read != position{}
}

func (si *sighting) get() (read, suspect position) {
	si.mu.Lock()
	defer si.mu.Unlock()
	return si.read, si.suspect
}

// checked ends what was known when get returned read and suspect: the group stands there.
func (si *sighting) checked(read, suspect, stands position) {
	si.mu.Lock()
	defer si.mu.Unlock()
	if si.suspect == suspect {
		si.suspect = position{}
	}
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
	stream position // how far anybody has seen the stream
	last   position // how far it went when it was last tended
	added  int64    // how many entries it had ever had then
	groups map[string]position
	subs   map[*subscription][2]position
}

// sightOf collects what is known. What was read after a connection broke does not hide what was read before.
func (e *tended) sightOf() sight {
	si := sight{groups: map[string]position{}, subs: map[*subscription][2]position{}}
	var suspects position
	for s := range e.subs {
		read, suspect := s.seen.get()
		si.subs[s] = [2]position{read, suspect}
		si.groups[s.group.Name] = si.groups[s.group.Name].max(read)
		si.stream, suspects = si.stream.max(read), suspects.max(suspect)
	}
	if (suspects != position{}) {
		si.stream = suspects
	}
	si.stream, si.last, si.added = si.stream.max(e.last), e.last, e.added
	return si
}

// checked notes how far the stream goes and where its groups stand, by the script that got si.
func (td *tending) checked(e *tended, si sight, last string, added int64, stands map[string]position) {
	td.mu.Lock()
	defer td.mu.Unlock()
	e.last, e.added = positionOf(last), added
	for s, was := range si.subs {
		if at, ok := stands[s.group.Name]; ok {
			s.seen.checked(was[0], was[1], at)
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
