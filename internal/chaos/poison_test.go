package chaos

import (
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/chaos/history"
)

// poison adds entries that are no events of the topic, and then lets others befall the run.
func poison(n int, others fault) fault {
	return func(r *run) {
		for i := range n {
			id := fmt.Sprint("poison-", i)
			r.log.Log(history.Record{What: history.Publishing, ID: id})
			add := &redis.XAddArgs{Stream: child.Jobs.Name(), Values: r.badEntry(i, id)}
			require.NoError(r, r.redis.XAdd(r.Context(), add).Err())
			r.log.Log(history.Record{What: history.Published, ID: id})
			r.faults++
		}
		others(r)
	}
}

// badEntry makes one of those with a name for each remainder, and others at random.
func (r *run) badEntry(i int, id string) []any {
	switch i % 10 {
	case 0:
		return []any{"id", id, "ct", "application/msgpack", "data", "\xdd\xff\xff\xff\xff"}
	case 1:
		return []any{"id", id, "ct", "application/json"}
	case 2:
		return []any{"id", id, "ct", "application/json", "data", strings.Repeat("[", 500_000)}
	case 3:
		return []any{"id", id, "ct", "application/x-foreign", "data", "{}"}
	case 4:
		return []any{"id", id, "ct", "application/json", "data", strings.Repeat("x", 2<<20)}
	}
	b := make([]byte, 1+r.rand.IntN(200))
	for j := range b {
		b[j] = byte(r.rand.Uint32())
	}
	return []any{"id", id, "ct", "application/json", "data", "\x00" + string(b)}
}
