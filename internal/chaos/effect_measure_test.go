package chaos

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/redistest"
)

// withDatabase is one server, and a database for the effects of handlers.
func withDatabase(r *run) site {
	db := start(r, r.program, "database", child.Spec{Name: "database", Dir: r.dir})
	r.Cleanup(func() { db.signal(syscall.SIGTERM); <-db.ended })
	require.NoError(r, redistest.Eventually(patience, func(context.Context) error {
		if r.consuming.Sink = db.said("source"); r.consuming.Sink == "" && db.running() {
			return errors.New("the database is not ready")
		}
		return nil
	}))
	require.NotEmpty(r, r.consuming.Sink, "where the database is")
	return single(r.flags...)(r)
}

// readingEffects lets others befall the run, waits until nothing can have an effect any more, and writes down those there are.
func readingEffects(others fault) fault {
	return func(r *run) {
		others(r)
		calm(r)
		r.stop()
		reader := start(r, r.program, "effects", child.Spec{Name: "effects", Dir: r.dir, Consuming: r.consuming})
		require.NoError(r, reader.wait(), "reading the effects")
		over, err := strconv.Atoi(reader.said("over"))
		require.NoError(r, err)
		assert.Positive(r, over, "events came again after their effect, or nothing is shown")
		r.note("%d came again after their effect, and had no other", over)
	}
}

// oneEffectEach: the sink has each event once.
func oneEffectEach(r *run) {
	effects := map[string]int{}
	for _, h := range r.history {
		if h.What == history.Effect {
			effects[h.ID]++
		}
	}
	n := r.records(history.Effect)
	assert.Equal(r, r.n, n, "effects")
	assert.Len(r, effects, r.n, "events with an effect")
	r.note("%d effects of %d events", n, len(effects))
}

// doublesExplained: an event has another effect only for a process that was killed between the effect and the mark.
func doublesExplained(r *run) {
	w := windows{open: inFlight{}, effects: map[string]int{}, crashes: map[string]int{}}
	for _, h := range r.history {
		w.follow(h)
	}
	assert.Len(r, w.effects, r.n, "events with an effect")
	doubles, unexplained := 0, map[string]int{}
	for id, n := range w.effects {
		if doubles += n - 1; n-1 > w.crashes[id] {
			unexplained[id] = n
		}
	}
	assert.Empty(r, unexplained, "events with more effects than crashes between effect and mark explain")
	assert.Positive(r, w.all, "crashes between an effect and its mark")
	r.note("not zero: %d double effects, of %d crashes between effect and mark", doubles, w.all)
}

// windows are the times between the effect of an event and the mark that it is done.
type windows struct {
	open    inFlight
	effects map[string]int // by event
	crashes map[string]int // in a window of the event
	all     int
}

func (w *windows) follow(h history.Record) {
	switch {
	case h.What == history.Killed:
		for id := range w.open[h.Process] {
			w.crashes[id]++
			w.all++
		}
	case h.What != history.Effect:
	case h.Text == child.Marked:
		delete(w.open[h.Process], h.ID)
	default:
		if w.open[h.Process] == nil {
			w.open[h.Process] = map[string]bool{}
		}
		w.open[h.Process][h.ID] = true
		w.effects[h.ID]++
	}
}

// relaying lets others befall the run, and waits until the outputs have arrived: on a Cluster consumers relay them from where
// they were stored, and what is there when the last of them ends waits for another.
func relaying(others fault) fault {
	return func(r *run) {
		others(r)
		calm(r)
		began := time.Now()
		assert.NoError(r, redistest.Eventually(patience, func(context.Context) error {
			if n := len(r.outputs()); n < r.n {
				return fmt.Errorf("%d outputs of %d", n, r.n)
			}
			return nil
		}))
		r.note("the last output %v after the last acknowledgement", time.Since(began).Round(time.Millisecond))
	}
}

// outputs counts them by id.
func (r *run) outputs() map[string]int {
	ids := map[string]int{}
	r.count(child.Outputs.Name(), ids)
	return ids
}

// oneOutputEach: for each event that was handled there is one output, whatever became of its handlers.
func oneOutputEach(r *run) {
	outputs := r.outputs()
	all, wrong := 0, map[string]int{}
	for n := range r.n {
		id := child.OutputOf(fmt.Sprintf("p-%d", n))
		if all += outputs[id]; outputs[id] != 1 {
			wrong[id] = outputs[id]
		}
	}
	assert.Empty(r, wrong, "events that have not one output")
	assert.Len(r, outputs, r.n, "outputs by id")
	starts := r.records(history.Started)
	assert.Greater(r, starts, r.n, "handlers began again")
	r.note("%d outputs of %d handlers that began", all, starts)
}

// nothingUnknown: the bus has found out what became of every publish, and all are stored.
func nothingUnknown(r *run) {
	unknown := r.records(history.Unknown)
	n, err := r.redis.XLen(r.Context(), child.Jobs.Name()).Result()
	require.NoError(r, err)
	assert.Zero(r, unknown, "outcomes that are unknown to the publisher")
	assert.EqualValues(r, r.n, n, "entries")
	assert.Len(r, r.end.Stored, r.n, "ids")
	r.note("%d entries of %d ids, %d outcomes unknown", n, len(r.end.Stored), unknown)
}

// records counts those of a kind.
func (r *run) records(what history.What) (n int) {
	for _, h := range r.history {
		if h.What == what {
			n++
		}
	}
	return n
}
