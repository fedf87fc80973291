package memory

import "time"

// trimEvery is how many messages may come in before a soft bound is looked at again.
const trimEvery = chunkSize

// retain enforces the retention that the topic was last published with.
func (t *topic) retain(now time.Time) {
	if !t.keep.Hard && t.log.next-t.trimmed < trimEvery {
		return
	}
	t.trimmed = t.log.next
	bound := t.bound(now)
	if !t.keep.Hard {
		bound = min(bound, t.acknowledged())
	}
	if bound > t.log.first {
		t.log.trim(bound)
	}
}

// bound is the position of the oldest message to keep.
func (t *topic) bound(now time.Time) uint64 {
	maxLen, maxAge := t.keep.Limits()
	bound := t.log.first
	if maxLen > 0 && t.log.len() > uint64(maxLen) {
		bound = t.log.next - uint64(maxLen)
	}
	if maxAge > 0 {
		bound = max(bound, t.log.since(now.Add(-maxAge)))
	}
	return bound
}

// acknowledged is the position up to which every group has acknowledged everything.
func (t *topic) acknowledged() uint64 {
	if len(t.groups) == 0 {
		return t.log.first
	}
	low := t.log.next
	for _, g := range t.groups {
		low = min(low, g.low.Load())
	}
	return low
}
