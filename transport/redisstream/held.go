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
	keeping bool // the keeper of leases runs
	over    bool // released: nothing is held any more
}

func (hs *heldSet) init() { hs.byKey = map[string]*held{} }

// hold adds entries and returns those that were not held. A claim also brings what is held, when renewing was late: it goes on
// with the delivery count it has now.
func (s *subscription) hold(es []entry) (fresh []*held) {
	now := time.Now()
	hs := &s.held
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.over {
		return nil
	}
	for _, e := range es {
		if h := hs.byKey[e.key()]; h != nil {
			h.count, h.since = e.count, now
			continue
		}
		hs.serial++
		h := &held{entry: e, since: now, Delivery: s.delivery(&e, e.key()+"."+strconv.FormatUint(hs.serial, 36))}
		hs.byKey[e.key()] = h
		fresh = append(fresh, h)
	}
	if len(hs.byKey) > 0 && !hs.keeping {
		hs.keeping = true
		s.wg.Go(s.keepLeases)
	}
	return fresh
}

// snapshot returns what is held. Others may end any of it meanwhile.
func (hs *heldSet) snapshot() []*held {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	all := make([]*held, 0, len(hs.byKey))
	for _, h := range hs.byKey {
		all = append(all, h)
	}
	return all
}

// idleKeeper returns true, and that the keeper has ended, if nothing is held.
func (hs *heldSet) idleKeeper() bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if len(hs.byKey) == 0 {
		hs.keeping = false
	}
	return !hs.keeping
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
	var tell []*transport.Delivery
	s.held.mu.Lock()
	for _, h := range hold {
		if !s.held.holds(h) {
			continue
		}
		delete(s.held.byKey, h.key())
		s.held.lost.add(h.Receipt)
		if h.handed {
			tell = append(tell, h.Delivery)
		}
	}
	s.held.mu.Unlock()
	if s.group.Lost != nil {
		for _, d := range tell {
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
