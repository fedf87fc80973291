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
		bound = min(bound, t.acknowledged(now))
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

// acknowledged is the position up to which every group that is not given up has acknowledged everything.
func (t *topic) acknowledged(now time.Time) uint64 {
	low, some := t.log.next, false
	for _, g := range t.groups {
		if !t.abandoned(g, now) {
			low, some = min(low, g.low.Load()), true
		}
	}
	if !some {
		return t.log.first
	}
	return low
}

// abandoned says whether a group has had no consumer for too long. During an outage none has one.
func (t *topic) abandoned(g *group, now time.Time) bool {
	since := g.left.Load()
	return t.keep.AbandonAfter > 0 && since != nil && now.Sub(*since) >= t.keep.AbandonAfter && !t.broker.away.Load()
}
