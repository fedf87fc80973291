package chaos

import (
	"slices"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/internal/chaos/history"
)

// orphans measures how long what a killed process was handling waited for another.
func (r *run) orphans(limit time.Duration) {
	running := map[string]map[string]bool{} // by process: events
	waits := map[string]int64{}             // by event: since when
	for _, h := range r.history {
		switch h.What {
		case history.Started:
			if since, ok := waits[h.ID]; ok {
				r.recovery = append(r.recovery, time.Duration(h.At-since))
				delete(waits, h.ID)
			}
			if running[h.Process] == nil {
				running[h.Process] = map[string]bool{}
			}
			running[h.Process][h.ID] = true
		case history.Finished, history.Failed, history.Ended:
			delete(running[h.Process], h.ID)
		case history.Killed:
			for id := range running[h.Process] {
				waits[id] = h.At
			}
		}
	}
	assert.Empty(r, waits, "what a killed process was handling is handled by another")
	if len(r.recovery) > 0 {
		assert.Less(r, slices.Max(r.recovery), limit+patience/10, "until another handles what a killed process had")
	}
}

// quantile of what was measured; 0 if nothing was.
func quantile(ds []time.Duration, q float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	ds = slices.Sorted(slices.Values(ds))
	return ds[min(int(q*float64(len(ds))), len(ds)-1)]
}
