package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/transport"
)

// poison adds entries that are no events of the topic while others, which must leave r.rand alone, befall the run.
func poison(n int, others fault) fault {
	return func(r *run) {
		r.faults += n
		var adding sync.WaitGroup
		adding.Go(func() { r.add(n) })
		others(r)
		adding.Wait()
	}
}

func poisonID(i int) string { return fmt.Sprint("poison-", i) }

func (r *run) add(n int) {
	r.raw = map[string]string{}
	for i := range n {
		fields := r.badEntry(i, poisonID(i))
		r.raw[poisonID(i)] = fields[len(fields)-1].(string)
		r.log.Log(history.Record{What: history.Publishing, ID: poisonID(i)})
		err := r.redis.XAdd(r.Context(), &redis.XAddArgs{Stream: child.Jobs.Name(), Values: fields}).Err()
		if !assert.NoError(r, err) {
			return
		}
		r.log.Log(history.Record{What: history.Published, ID: poisonID(i)})
	}
}

// badEntry makes one of those with a name, first the heavy ones, and at random in the end. The last field is the body.
func (r *run) badEntry(i int, id string) []any {
	body := func(contentType, data string) []any { return []any{"id", id, "ct", contentType, "data", data} }
	switch {
	case i == 0:
		return body("application/json", strings.Repeat("[", 10<<20))
	case i == 1:
		return body("application/msgpack", strings.Repeat("\x91", 10<<20))
	case i < 5:
		return []any{"id", id, "ct", "application/json", "h.content-encoding", "zstd", "data", bomb()}
	}
	switch i % 10 {
	case 0:
		return body("application/msgpack", "\xdd\xff\xff\xff\xff")
	case 1:
		return body("application/json", "")
	case 2:
		return body("application/json", strings.Repeat("[", 500_000))
	case 3:
		return body("application/x-foreign", "{}")
	case 4:
		return body("application/json", strings.Repeat("x", 2<<20))
	}
	b := make([]byte, 1+r.rand.IntN(200))
	for j := range b {
		b[j] = byte(r.rand.Uint32())
	}
	return body("application/json", "\x00"+string(b))
}

// bomb is 256 MiB of zeros, in a few kilobytes.
var bomb = sync.OnceValue(func() string {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	zeros := make([]byte, 1<<20)
	for range 256 {
		_, _ = w.Write(zeros)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		panic(err)
	}
	return b.String()
})

// rawKept: the letters of what cannot be decoded have it as it was.
func rawKept(r *run) {
	kept := 0
	r.eachLetter(func(l *transport.Letter) {
		if want, ok := r.raw[l.ID]; ok {
			kept++
			assert.True(r, want == string(l.Body), "%s: a letter of %d bytes, the entry had %d", l.ID, len(l.Body), len(want))
		}
	})
	assert.Equal(r, len(r.raw), kept, "letters of entries that cannot be decoded")
}

// deathsBounded: no event takes more than limit processes with it.
func deathsBounded(limit int) func(*run) {
	return func(r *run) {
		deaths, deadly := 0, 0
		for _, h := range r.history {
			if h.What == history.Killed {
				deaths++
			}
		}
		for n := range r.n {
			if r.publishing.Kind(n) == child.Exits {
				deadly++
			}
		}
		assert.LessOrEqual(r, deaths, limit*deadly, "deaths of processes by %d events", deadly)
		r.note("%d events took %d processes with them", deadly, deaths)
	}
}

// leanIn256MiB: no consumer ever has more than that. The race detector's shadow is several times what it watches.
func leanIn256MiB(r *run) {
	var most int64
	for _, c := range r.peaks {
		most = max(most, c)
	}
	limit := int64(256 << 20)
	if raceDetector {
		limit *= 8
	}
	assert.Less(r, most, limit, "bytes of memory of a consumer")
	r.note("the largest consumer had %d MiB (race detector: %t)", most>>20, raceDetector)
}
