package chaos

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/internal/chaos/history"
)

// handedOver: what a process had received and not begun when it was asked to end is begun by another before long. Such an event
// is known by those behind it, which began before it; how long all of them waited is another matter.
func handedOver(limit time.Duration) func(*run) {
	return func(r *run) {
		r.recovery = overtaken(r.history)
		r.within(limit, "from the first event behind it until an event begins")
	}
}

// overtaken is, for each event, how much later it began than the first that was published after it; 0 if it began before.
func overtaken(h []history.Record) (ds []time.Duration) {
	began := map[string]int64{}
	for i := range h {
		if h[i].What == history.Started && began[h[i].ID] == 0 {
			began[h[i].ID] = h[i].At
		}
	}
	next := int64(math.MaxInt64)
	for i := len(h) - 1; i >= 0; i-- {
		if at := began[h[i].ID]; h[i].What == history.Publishing && at != 0 {
			ds = append(ds, time.Duration(max(at-next, 0)))
			next = min(next, at)
		}
	}
	return ds
}

func TestOvertaken(t *testing.T) {
	h := []history.Record{
		{At: 1, What: history.Publishing, ID: "a"}, {At: 2, What: history.Publishing, ID: "b"}, {At: 3, What: history.Publishing, ID: "c"},
		{At: 10, What: history.Started, ID: "a"}, {At: 20, What: history.Started, ID: "c"}, {At: 50, What: history.Started, ID: "b"},
		{At: 90, What: history.Started, ID: "a"},
	}
	assert.Equal(t, []time.Duration{0, 30, 0}, overtaken(h), "c, b, a")
}
