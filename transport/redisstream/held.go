package redisstream

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// held is a lease: an entry that is pending for this consumer.
type held struct {
	transport.Delivery // what Receive returns
	message            transport.Message

	key   string // entryKey
	count int64  // how often it was delivered
	book  bookkeeping
	kept  kept   // its fields, for when they are gone from the stream
	body  string // the value of the field with the body, if it is long; then kept has no such field

	since    time.Time // when the server last said, or is known to have thought, that it is ours
	settling int32     // settlements under way: that it is not ours any more may be their doing
	handed   bool      // Receive has returned it; until then it waits in the reader
	unsure   bool      // a settlement had no answer and may have happened
	gone     bool      // its entry was deleted from the stream; nobody else can get it
	suspect  bool      // it has the quarantine
}

// entry is where h is.
func (h *held) entry() (source, string) { return source(h.key[0]), h.key[1:] }

// A heldSet is what a subscription holds. What is in it leaves it once: settled, lost or released.
type heldSet struct {
	mu      sync.Mutex
	byKey   map[string]*held
	lost    lostReceipts
	serial  uint64
	keeping bool            // the keeper of leases runs
	still   <-chan struct{} // for tests: the keeper waits until it is closed

	quarantine *quarantine // of the transport
}

func (hs *heldSet) init() { hs.byKey = map[string]*held{} }

// hold adds entries, ours since then, and returns those that were not held. A claim also brings what is held, when renewing was late: it goes on
// with the delivery count it has now, or, if its lease had run out, is lost and comes again. The Receive that runs calls it.
func (s *subscription) hold(es []entry, since time.Time) (fresh []*held) {
	fresh = make([]*held, len(es))
	for i := range es {
		fresh[i] = s.holdable(&es[i], since)
	}
	now := time.Now()
	hs := &s.held
	hs.mu.Lock()
	var lost []*transport.Delivery
	n := 0
	for _, f := range fresh {
		h := hs.byKey[f.key]
		if h != nil && elapsed(h.since, now) < s.lease {
			h.count, h.since = f.count, since
			continue
		}
		lost = hs.drop(lost, h)
		hs.byKey[f.key] = f
		fresh[n] = f
		n++
	}
	if len(hs.byKey) > 0 && !hs.keeping {
		hs.keeping = true
		s.wg.Go(s.keepLeases)
	}
	hs.mu.Unlock()
	s.tellLost(lost)
	return fresh[:n]
}

// holdable makes a lease of an entry, with copies of all that is in it: an entry is part of a large answer.
func (s *subscription) holdable(e *entry, since time.Time) *held {
	s.held.serial++
	body := s.takeLongBody(e)
	var serial [13]byte
	number := strconv.AppendUint(serial[:0], s.held.serial, 36)
	keyLen := 1 + len(e.id)
	receiptLen := keyLen + 1 + len(number)

	var b strings.Builder
	b.Grow(receiptLen + keptSize(e.fields))
	b.WriteByte(byte(e.src))
	b.WriteString(e.id)
	b.WriteByte('.')
	b.Write(number)
	keep(&b, e.fields)
	copied := b.String()

	h := &held{key: copied[:keyLen], count: e.count, kept: kept(copied[receiptLen:]), body: body, since: since}
	s.describe(h, copied[:receiptLen], e.fields != nil)
	return h
}

// longBody is from what length a body is copied apart: ids, keys and headers are parts of one string with all that is short, and who
// keeps one of them keeps that string.
const longBody = 1 << 10

// takeLongBody takes a long body out of e and returns a copy; "" if there is none.
func (s *subscription) takeLongBody(e *entry) string {
	i := e.fields.index(s.mapping.Data)
	if i < 0 || len(e.fields[i].value) < longBody {
		return ""
	}
	body := strings.Clone(e.fields[i].value)
	e.fields = slices.Delete(e.fields, i, i+1)
	return body
}

// appendFields appends the fields of h to fs.
func (s *subscription) appendFields(fs fields, h *held) fields {
	fs = h.kept.appendTo(fs)
	if h.body != "" {
		fs = append(fs, field{s.mapping.Data, h.body})
	}
	return fs
}

// describe makes the delivery of h. Time, and the id of a message that has none, come from the entry in the topic's stream, so that
// they are the same in each delivery.
func (s *subscription) describe(h *held, receipt string, live bool) {
	var fs fields
	if live {
		fs = s.appendFields(s.reader.scratch[:0], h)
		s.reader.scratch = fs
	}
	e := entry{fields: fs}
	e.src, e.id = h.entry()
	h.book = e.bookkeeping()
	malformed := s.mapping.parse(&h.message, s.keys.stream, h.book.origin, fs)
	if e.src == fromRetry {
		addPut(&h.message, fs)
	}
	h.Delivery = transport.Delivery{
		Message: &h.message, Topic: s.topic.Name, Group: s.group.Name,
		Attempt: h.book.attempt, Redelivered: h.redelivered(), Replays: h.book.replays, Receipt: receipt, Malformed: malformed,
	}
	clear(fs)
}

// redelivered counts the deliveries without an outcome, before this one.
func (h *held) redelivered() int { return h.book.redelivered + int(max(h.count-1, 0)) }

// idleKeeper returns true, and that the keeper has ended, if nothing is held.
func (hs *heldSet) idleKeeper() (idle bool, still <-chan struct{}) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if len(hs.byKey) == 0 {
		hs.keeping = false
	}
	return !hs.keeping, hs.still
}

// holds says whether h is held still.
func (hs *heldSet) holds(h *held) bool { return hs.byKey[h.key] == h }

// byReceipt returns what a receipt is for, nil if that is not held any more. The lock is taken.
func (hs *heldSet) byReceipt(receipt string) *held {
	if h := hs.byKey[receiptKey(receipt)]; h != nil && h.Receipt == receipt {
		return h
	}
	return nil
}

// knows says whether an entry is held or was lost lately: nothing to adopt.
func (hs *heldSet) knows(key string) bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.byKey[key] != nil || hs.lost.hasKey(key)
}

// end takes out what is settled.
func (hs *heldSet) end(h *held) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.holds(h) {
		hs.remove(h)
	}
}

// endAll takes out what was acknowledged, under one lock.
func (hs *heldSet) endAll(es []*ending) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, e := range es {
		if e.ended && e.held != nil && hs.holds(e.held) {
			hs.remove(e.held)
		}
	}
}

// hand marks what Receive returns and passes over what was lost while it waited.
func (hs *heldSet) hand(hold []*held) []*transport.Delivery {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if len(hold) == 0 {
		return nil
	}
	ds := make([]*transport.Delivery, 0, len(hold))
	for _, h := range hold {
		if hs.holds(h) {
			h.handed = true
			ds = append(ds, &h.Delivery)
		}
	}
	return ds
}

// lose takes out what is not ours any more and tells the group, once each.
func (s *subscription) lose(hold ...*held) {
	var lost []*transport.Delivery
	s.held.mu.Lock()
	for _, h := range hold {
		lost = s.held.drop(lost, h)
	}
	s.held.mu.Unlock()
	s.tellLost(lost)
}

// drop takes out h, if it is held, and adds it to what is to be told. The lock is taken.
func (hs *heldSet) drop(lost []*transport.Delivery, h *held) []*transport.Delivery {
	if h == nil || !hs.holds(h) {
		return lost
	}
	hs.remove(h)
	hs.lost.add(strings.Clone(h.Receipt)) // or each would keep its event, of which it is a part
	if h.handed {
		lost = append(lost, &h.Delivery)
	}
	return lost
}

func (s *subscription) tellLost(lost []*transport.Delivery) {
	if s.group.Lost != nil {
		for _, d := range lost {
			s.group.Lost(d)
		}
	}
}

// lostReceipts remembers what was lost lately, so that a settlement that comes too late is refused and not mistaken for a
// repeated one.
type lostReceipts struct {
	set  map[string]struct{}
	keys map[string]int // entries among them
	ring []string
	next int

	forgotten uint64 // the highest serial of a receipt that is remembered no more
}

const lostKept = 4096

func (l *lostReceipts) add(receipt string) {
	if l.set == nil {
		l.set, l.keys, l.ring = map[string]struct{}{}, map[string]int{}, make([]string, lostKept)
	}
	if old := l.ring[l.next]; old != "" {
		delete(l.set, old)
		l.forgotten = max(l.forgotten, receiptSerial(old))
		l.drop(receiptKey(old))
	}
	l.ring[l.next] = receipt
	l.next = (l.next + 1) % len(l.ring)
	l.set[receipt] = struct{}{}
	l.keys[receiptKey(receipt)]++
}

// mayHave says whether a receipt, which is not held, may be one that was lost so long ago that this is forgotten.
func (l *lostReceipts) mayHave(receipt string) bool { return receiptSerial(receipt) <= l.forgotten }

func (l *lostReceipts) drop(key string) {
	if l.keys[key]--; l.keys[key] <= 0 {
		delete(l.keys, key)
	}
}

func (l *lostReceipts) has(receipt string) bool { _, ok := l.set[receipt]; return ok }
func (l *lostReceipts) hasKey(key string) bool  { return l.keys[key] > 0 }

// receiptKey is the entry that a receipt is for.
func receiptKey(receipt string) string {
	key, _, _ := strings.Cut(receipt, ".")
	return key
}

// receiptSerial is the number of a receipt: later ones of a subscription have higher ones.
func receiptSerial(receipt string) uint64 {
	_, number, _ := strings.Cut(receipt, ".")
	serial, err := strconv.ParseUint(number, 36, 64)
	if err != nil {
		return math.MaxUint64 // not of this subscription
	}
	return serial
}

// receiptEntry is where that entry is.
func receiptEntry(receipt string) (source, string) {
	key := receiptKey(receipt)
	if key == "" {
		return fromTopic, ""
	}
	return source(key[0]), key[1:]
}

// size is how many are held.
func (hs *heldSet) size() int {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return len(hs.byKey)
}
