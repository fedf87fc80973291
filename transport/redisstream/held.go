package redisstream

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// held is a lease: an entry that is pending for this consumer.
type held struct {
	entry
	*transport.Delivery
	since    time.Time // when the server last said, or is known to have thought, that it is ours
	handed   bool      // Receive has returned it; until then it waits in the reader
	settling int       // settlements under way: that it is not ours any more may be their doing
	unsure   bool      // a settlement had no answer and may have happened
	gone     bool      // its entry was deleted from the stream; nobody else can get it
}

// A heldSet is what a subscription holds. What is in it leaves it once: settled, lost or released.
type heldSet struct {
	mu      sync.Mutex
	byKey   map[string]*held
	lost    lostReceipts
	serial  uint64
	keeping bool            // the keeper of leases runs
	still   <-chan struct{} // for tests: the keeper waits until it is closed
}

func (hs *heldSet) init() { hs.byKey = map[string]*held{} }

// hold adds entries and returns those that were not held. A claim also brings what is held, when renewing was late: it goes on
// with the delivery count it has now, or, if its lease had run out, is lost and comes again.
func (s *subscription) hold(es []entry) (fresh []*held) {
	now := time.Now()
	hs := &s.held
	hs.mu.Lock()
	var lost []*transport.Delivery
	for _, e := range es {
		h := hs.byKey[e.key()]
		if h != nil && elapsed(h.since, now) < s.lease {
			h.count, h.since = e.count, now
			continue
		}
		lost = hs.drop(lost, h)
		fresh = append(fresh, s.holdOne(e, now))
	}
	if len(hs.byKey) > 0 && !hs.keeping {
		hs.keeping = true
		s.wg.Go(s.keepLeases)
	}
	hs.mu.Unlock()
	s.tellLost(lost)
	return fresh
}

// holdOne adds an entry. The lock is taken.
func (s *subscription) holdOne(e entry, now time.Time) *held {
	s.held.serial++
	h := &held{entry: e, since: now, Delivery: s.delivery(&e, e.key()+"."+strconv.FormatUint(s.held.serial, 36))}
	s.held.byKey[e.key()] = h
	return h
}

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
func (hs *heldSet) holds(h *held) bool { return hs.byKey[h.key()] == h }

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
		delete(hs.byKey, h.key())
	}
}

// hand marks what Receive returns and passes over what was lost while it waited.
func (hs *heldSet) hand(hold []*held) []*transport.Delivery {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	var ds []*transport.Delivery
	for _, h := range hold {
		if hs.holds(h) {
			h.handed = true
			ds = append(ds, h.Delivery)
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
	delete(hs.byKey, h.key())
	hs.lost.add(h.Receipt)
	if h.handed {
		lost = append(lost, h.Delivery)
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
}

const lostKept = 4096

func (l *lostReceipts) add(receipt string) {
	if l.set == nil {
		l.set, l.keys, l.ring = map[string]struct{}{}, map[string]int{}, make([]string, lostKept)
	}
	if old := l.ring[l.next]; old != "" {
		delete(l.set, old)
		l.drop(receiptKey(old))
	}
	l.ring[l.next] = receipt
	l.next = (l.next + 1) % len(l.ring)
	l.set[receipt] = struct{}{}
	l.keys[receiptKey(receipt)]++
}

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
