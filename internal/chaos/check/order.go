package check

import (
	"cmp"
	"slices"
)

// order looks at the order within each key: I8.
//
// One event comes before another if its publish was confirmed before that of the other began. It may be handled later all the
// same if it came again: it had failed, or was delivered before without an outcome.
func (c *checker) order() {
	if !c.p.Ordered {
		return
	}
	keys := make(map[string][]handling)
	for i := range c.events {
		if h, key := c.firstHandling(&c.events[i]); h.event != nil {
			keys[key] = append(keys[key], h)
		}
	}
	for _, hs := range keys {
		c.orderOf(hs)
	}
}

// handling is the first success of an event.
type handling struct {
	*event
	*run
	again bool // it was not its first delivery
}

func (c *checker) firstHandling(e *event) (handling, string) {
	if e.published == 0 || e.finished == 0 {
		return handling{}, ""
	}
	var first *run
	again := false
	for n := range c.runsOf(e) {
		again = again || n.attempt > 1 || n.redelivered > 0 || !n.ok
		if n.ok && (first == nil || n.end < first.end) {
			first = n
		}
	}
	key := c.h[e.publishing-1].Key
	if key == "" {
		key = c.h[first.start-1].Key
	}
	return handling{e, first, again}, key
}

func (c *checker) orderOf(hs []handling) {
	confirmed := slices.Clone(hs)
	slices.SortFunc(confirmed, func(a, b handling) int { return cmp.Compare(a.published, b.published) })
	slices.SortFunc(hs, func(a, b handling) int { return cmp.Compare(a.publishing, b.publishing) })
	var latest handling // of those that were confirmed before
	for _, h := range hs {
		for ; len(confirmed) > 0 && confirmed[0].published < h.publishing; confirmed = confirmed[1:] {
			if first := confirmed[0]; !first.again && (latest.run == nil || latest.run.end < first.run.end) {
				latest = first
			}
		}
		if latest.run != nil && latest.run.end > h.run.end {
			c.breach(OrderKept, "overtaken", latest.event, "it was published %s and handled %s, but %s, which was published %s, was handled %s",
				c.when(latest.published), c.when(latest.run.end), h.id, c.when(h.publishing), c.when(h.run.end))
		}
	}
}
