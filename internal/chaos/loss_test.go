package chaos

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/redistest"
)

// drop removes the stream of the topic.
func drop(r *run) {
	require.NoError(r, r.redis.Del(r.Context(), child.Jobs.Name()).Err())
	r.inject(history.Fault, "server", "data loss: DEL")
	r.heal("server", "data loss: DEL")
}

// evict lets the server be so full that it evicts everything.
func evict(r *run) {
	set := func(name, value string) { require.NoError(r, r.redis.ConfigSet(r.Context(), name, value).Err()) }
	set("maxmemory-policy", "allkeys-lru")
	set("maxmemory", "1")
	require.NoError(r, redistest.Eventually(5*time.Second, func(ctx context.Context) error {
		if n := r.redis.DBSize(ctx).Val(); n > 0 {
			return errors.New("nothing is evicted")
		}
		return nil
	}))
	set("maxmemory", "0")
	set("maxmemory-policy", "noeviction")
	r.inject(history.Fault, "server", "data loss: eviction")
	r.heal("server", "data loss: eviction")
}

// quiet: a consumer logs no more than a line in so long, on average, besides one for each handler that lost its event.
func quiet(each time.Duration) func(*run) {
	return func(r *run) {
		lasted := time.Duration(r.history[len(r.history)-1].At - r.history[0].At)
		files, err := filepath.Glob(filepath.Join(r.dir, "c*.txt"))
		require.NoError(r, err)
		most, events := 0, 0
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(r, err)
			of := bytes.Count(text, []byte(" id=p-"))
			most, events = max(most, bytes.Count(text, []byte("\n"))-of), max(events, of)
		}
		assert.LessOrEqual(r, most, int(lasted/each), "lines that a consumer logs")
		assert.LessOrEqual(r, events, 16*r.faults, "lines that a consumer logs of its handlers")
		r.note("a consumer logs at most %d lines in %v, and %d of handlers", most, lasted.Round(time.Second), events)
	}
}

// toldOnce: of each loss there is one report, by whoever finds it first.
func toldOnce(r *run) {
	var said []string
	for _, h := range r.history {
		if h.What == history.Loss {
			said = append(said, h.Process+": "+h.Text)
		}
	}
	assert.Len(r, said, r.lossy(), "reports of loss")
}
