package memory

import "time"

// known are the ids of messages that were published with Dedup, each until its time is over.
type known struct {
	ids  map[string]struct{}
	ends schedule[string]
}

// add notes an id. It returns false if it was there.
func (k *known) add(id string, now time.Time, window time.Duration) bool {
	for over, ok := k.ends.due(now); ok; over, ok = k.ends.due(now) {
		delete(k.ids, over)
	}
	if _, ok := k.ids[id]; ok {
		return false
	}
	if k.ids == nil {
		k.ids = map[string]struct{}{}
	}
	k.ids[id] = struct{}{}
	k.ends.add(now.Add(window), id)
	return true
}
