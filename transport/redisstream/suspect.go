package redisstream

import (
	"sync/atomic"
	"time"
)

// A quarantine is what a process has once: who takes it may hold a suspect, which is a message that has been delivered at least
// twice without an outcome and may be what kills its consumers. So the next one it kills holds no other, and those are not
// delivered again and again because of it. See scripts/claim.lua.
//
// It is taken by a claim that is under way, then by the held that it brought (held.suspect), until that leaves the held set.
type quarantine struct{ since atomic.Int64 } // when it was taken, in nanoseconds; 0 if it is free

func (q *quarantine) take() bool { return q.since.CompareAndSwap(0, time.Now().UnixNano()) }
func (q *quarantine) free()      { q.since.Store(0) }

// takenFor is for how long it has been taken, and whether it is.
func (q *quarantine) takenFor(now time.Time) (d time.Duration, taken bool) {
	since := q.since.Load()
	return time.Duration(now.UnixNano() - since), since != 0
}

// isolate makes what is held under key the suspect that the quarantine was taken for, and frees it if nothing is.
func (hs *heldSet) isolate(key string) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if h := hs.byKey[key]; h != nil {
		h.suspect = true
	} else {
		hs.quarantine.free()
	}
}

// isolateOne takes the quarantine, if it is free, for a suspect among es: the answer to the claim that brought it was lost.
func (hs *heldSet) isolateOne(es []entry) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, e := range es {
		if h := hs.byKey[entryKey(e.src, e.id)]; h != nil && !h.suspect && h.redelivered() >= 2 && hs.quarantine.take() {
			h.suspect = true
			return
		}
	}
}

// remove takes h out. The lock is taken.
func (hs *heldSet) remove(h *held) {
	delete(hs.byKey, h.key)
	hs.pardon(h)
}

// pardon lets others be held in the place of h. The lock is taken.
func (hs *heldSet) pardon(h *held) {
	if h.suspect {
		h.suspect = false
		hs.quarantine.free()
	}
}

// abandon is for what is held still when the subscription has ended.
func (hs *heldSet) abandon() {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range hs.byKey {
		hs.pardon(h)
	}
}

// suspectTick is how soon a consumer looks again for suspects that it has left behind.
func suspectTick(lease time.Duration) time.Duration {
	return min(claimTick(lease)/16, 50*time.Millisecond)
}

// suspectsDue says whether to claim because of suspects that were left behind. While the quarantine is taken the server is
// not asked, and the longer that is so the rarer is the look here, lest an idle read is cut short all the time.
func (s *subscription) suspectsDue(now time.Time) bool {
	r := &s.reader
	if r.suspectsAt.IsZero() || now.Before(r.suspectsAt) {
		return false
	}
	d, taken := s.t.quarantine.takenFor(now)
	if taken {
		r.suspectsAt = now.Add(min(max(d/4, suspectTick(s.lease)), claimTick(s.lease)))
	}
	return !taken
}
