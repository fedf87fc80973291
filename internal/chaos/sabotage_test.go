package chaos

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/chaos/check"
	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/chaos/history"
)

// small is a row that takes a second.
var small = row{
	id: "small", consumers: 2,
	publishing: child.Publishing{Rate: 1000},
	consuming:  child.Consuming{Lease: time.Second, Work: time.Millisecond},
}

// TestSabotageIsSeen: what nobody promised to survive, done behind the back of the bus and of the history, breaks a promise.
func TestSabotageIsSeen(t *testing.T) {
	for name, c := range map[string]struct {
		sabotage fault
		want     []string // one of these; nil for none
	}{
		"none":      {func(*run) {}, nil},
		"a loss":    {remove, []string{check.NothingLost}},
		"a double":  {double, []string{check.UnknownAtMost, check.DuplicatesBound, check.DoneIsDone}},
		"a letter":  {bury, []string{check.DeadOnce}},
		"a made up": {invent, []string{check.NothingMadeUp}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, small, 300)
			defer r.keep()
			r.nemesis = func(r *run) {
				r.during(100 * time.Millisecond)
				c.sabotage(r)
			}
			r.play()
			if c.want == nil {
				assert.Empty(t, r.found.Breaches)
				return
			}
			assert.True(t, slices.ContainsFunc(r.found.Breaches, func(b check.Breach) bool { return slices.Contains(c.want, b.Invariant) }),
				"%v is broken: %+v", c.want, r.found.Breaches)
		})
	}
}

// remove stores an event and takes it away in the same step.
func remove(r *run) {
	const script = `redis.call("XDEL", KEYS[1], redis.call("XADD", KEYS[1], "*", "id", "removed", "data", "{}")) return 1`
	r.log.Log(history.Record{What: history.Publishing, ID: "removed"})
	require.NoError(r, r.redis.Eval(r.Context(), script, []string{child.Jobs.Name()}).Err())
	r.log.Log(history.Record{What: history.Published, ID: "removed"})
}

// double stores an event twice.
func double(r *run) {
	r.log.Log(history.Record{What: history.Publishing, ID: "doubled"})
	for range 2 {
		require.NoError(r, r.redis.XAdd(r.Context(), entry("doubled")).Err())
	}
	r.log.Log(history.Record{What: history.Published, ID: "doubled"})
}

// bury makes dead letters of an event that is handled.
func bury(r *run) {
	for range 2 {
		add := entry("p-0")
		add.Stream = "{" + child.Jobs.Name() + "}:" + child.Group + ":dead"
		require.NoError(r, r.redis.XAdd(r.Context(), add).Err())
	}
}

// invent stores an event that nobody published.
func invent(r *run) {
	require.NoError(r, r.redis.XAdd(r.Context(), entry("invented")).Err())
}

func entry(id string) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: child.Jobs.Name(), Values: []any{"id", id, "ct", "application/json", "data", `{"N":1}`}}
}

func TestTheSeedDecides(t *testing.T) {
	draw := func(id string) uint64 {
		r := newRun(t, row{id: id}, 0)
		defer r.keep()
		return r.rand.Uint64()
	}
	assert.Equal(t, draw("G1"), draw("G1"))
	assert.NotEqual(t, draw("G1"), draw("G2"))
}
