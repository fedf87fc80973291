package redisstream

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// A copied is what a replica has of a topic and the cursor of its group g.
type copied struct {
	*bench
	keys map[string]string
}

func (b *bench) copied() *copied {
	b.Helper()
	c := &copied{b, map[string]string{"orders": "", "{orders}:g:cursor": ""}}
	for key := range c.keys {
		c.keys[key] = b.client.Dump(b.Context(), key).Val()
	}
	return c
}

// takesOver puts the copy in place of what there is, as another run of the server.
func (c *copied) takesOver(run string) {
	c.Helper()
	for key, value := range c.keys {
		if value == "" {
			require.NoError(c, c.client.Del(c.Context(), key).Err())
		} else {
			require.NoError(c, c.client.RestoreReplace(c.Context(), key, 0, value).Err())
		}
	}
	if cursor := strings.Fields(c.client.Get(c.Context(), "{orders}:g:cursor").Val()); run != "" {
		cursor[2] = run
		require.NoError(c, c.client.Set(c.Context(), "{orders}:g:cursor", strings.Join(cursor, " "), 0).Err())
	}
}

// entries stores some with the ids given.
func (b *bench) entries(ids ...string) {
	b.Helper()
	for _, id := range ids {
		require.NoError(b, b.client.XAdd(b.Context(), &redis.XAddArgs{Stream: "orders", ID: id, Values: []any{"data", "x"}}).Err())
	}
}

// told are the ranges of lost entries that were reported, each as from and to.
func (w *watcher) told(t *testing.T) (all [][2]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, err := range w.warns {
		var loss *transport.LossError
		if errors.As(err, &loss) && strings.HasPrefix(loss.What, "the stream lacks") {
			all = append(all, [2]string{loss.From, loss.To})
		}
	}
	return all
}

// whole is the range of all that was told, of which each part was told once.
func (w *watcher) whole(t *testing.T) (all [2]string) {
	t.Helper()
	parts := w.told(t)
	require.NotEmpty(t, parts, "%v", w.warns)
	for i, part := range parts[1:] {
		require.Equal(t, parts[i][1], part[0], "one part after the other: %v", parts)
	}
	return [2]string{parts[0][0], parts[len(parts)-1][1]}
}

func readDone(t *testing.T, s *subscription, n int) {
	t.Helper()
	settle(t, s, transport.Done, 0, receive(t, s, n)...)
}

func tendAll(t *testing.T, ss ...*subscription) {
	for _, s := range ss {
		s.t.tend(t.Context(), []string{"orders"})
	}
}

// of what several processes have seen each part is told, and no part twice.
func TestALossIsToldInParts(t *testing.T) {
	b, w := newBench(t), &watcher{}
	g := w.group("g", time.Minute)
	one, two, three := b.subscribe(b.tr, g), b.subscribe(b.transport(), g), b.subscribe(b.transport(), g)
	b.entries("100-0", "200-0", "300-0")
	readDone(t, one, 1)
	readDone(t, two, 1)
	readDone(t, three, 1)
	tendAll(t, one, two, three)
	behind := b.copied()
	b.entries("400-0", "500-0", "600-0", "700-0")
	readDone(t, one, 1)
	readDone(t, two, 2)
	readDone(t, three, 1)
	behind.takesOver("")
	for _, s := range []*subscription{one, two, three} {
		s.reconnected()
	}
	b.entries("350-0", "450-0", "800-0") // ids that come between those that are lost, as on a replica that is promoted while its master runs
	tendAll(t, one, two, three)
	tendAll(t, two, one, three)
	require.Equal(t, [][2]string{{"300-0", "400-0"}, {"400-0", "600-0"}, {"600-0", "700-0"}}, w.told(t))
}

// a process that looks at the new master while it still reads the old one knows ids of both: what others told is the better beginning.
func TestPartsOfALossHaveNoGaps(t *testing.T) {
	b, w := newBench(t), &watcher{}
	g := w.group("g", time.Minute)
	one, two := b.subscribe(b.tr, g), b.subscribe(b.transport(), g)
	b.entries("100-0")
	readDone(t, one, 1)
	tendAll(t, one, two)
	behind := b.copied()
	b.entries("200-0", "300-0")
	readDone(t, two, 1)
	readDone(t, one, 1)
	old := b.copied()
	behind.takesOver("otherrun")
	b.entries("250-0", "320-0")
	tendAll(t, one, two)
	now := b.copied()

	old.takesOver("")
	b.entries("310-0", "325-0")
	readDone(t, two, 2) // one answer, of which the last id is remembered
	now.takesOver("")
	two.reconnected()
	tendAll(t, two)
	require.Equal(t, [2]string{"100-0", "325-0"}, w.whole(t))
}

// what one process has told of all is not told by another that has seen less.
func TestALossThatIsToldIsNotToldInParts(t *testing.T) {
	b, w := newBench(t), &watcher{}
	g := w.group("g", time.Minute)
	one, two := b.subscribe(b.tr, g), b.subscribe(b.transport(), g)
	b.entries("100-0", "200-0")
	readDone(t, one, 2)
	tendAll(t, one, two)
	behind := b.copied()
	b.entries("300-0", "400-0")
	readDone(t, two, 1)
	readDone(t, one, 1)
	behind.takesOver("")
	b.entries("350-0")
	tendAll(t, one, two, one, two)
	require.Equal(t, [][2]string{{"200-0", "400-0"}}, w.told(t))
}

// what was read from one server is looked for also if the next connection, and what was tended, led to another.
func TestWhatIsNewHidesNoLoss(t *testing.T) {
	b, w := newBench(t), &watcher{}
	s := b.subscribe(b.tr, w.group("g", time.Minute))
	b.entries("100-0", "200-0")
	readDone(t, s, 2)
	tendAll(t, s)
	behind := b.copied()
	b.entries("300-0", "400-0")
	readDone(t, s, 2)
	behind.takesOver("")
	b.entries("350-0", "500-0")
	s.reconnected() // and before anybody looks
	readDone(t, s, 2)
	s.reconnected()
	tendAll(t, s)
	require.Equal(t, [][2]string{{"200-0", "400-0"}}, w.told(t))
	tendAll(t, s)
	require.Len(t, w.told(t), 1)
}

// ids that are given out anew, below what was told of a loss, can be lost in their turn with the next server.
func TestIdsThatAreGivenOutAnewAreToldTwice(t *testing.T) {
	b, w := newBench(t), &watcher{}
	s := b.subscribe(b.tr, w.group("g", time.Minute))
	b.entries("100-0")
	readDone(t, s, 1)
	tendAll(t, s)
	first := b.copied()
	b.entries("900-0")
	readDone(t, s, 1)
	first.takesOver("otherrun")
	s.reconnected()
	tendAll(t, s)
	require.Equal(t, [][2]string{{"100-0", "900-0"}}, w.told(t))
	b.entries("200-0")
	readDone(t, s, 1)
	tendAll(t, s)
	second := b.copied()
	b.entries("300-0")
	readDone(t, s, 1)
	second.takesOver("thirdrun")
	s.reconnected()
	tendAll(t, s)
	require.Equal(t, [][2]string{{"100-0", "900-0"}, {"200-0", "300-0"}}, w.told(t))
}

// a server that is a replica by now is looked at again when another has taken over, not after the usual time.
func TestTendingIsTriedAgainSoon(t *testing.T) {
	for text, soon := range map[string]bool{"READONLY You can't write against a read only replica.": true, "NOPERM No.": false} {
		b, w := newBench(t), &watcher{}
		b.tr.tends.first = time.Hour
		b.subscribe(b.tr, w.group("g", time.Minute))
		j, ok := b.tr.tending.get("orders")
		require.True(t, ok)
		b.tr.tendFailed(j, redisError(text))
		b.tr.tends.mu.Lock()
		wait := time.Until(b.tr.tends.items["orders"].at)
		b.tr.tends.mu.Unlock()
		require.Equal(t, soon, wait <= time.Second, "%s: in %v", text, wait)
	}
}

// redisError is an answer that refuses.
type redisError string

func (e redisError) Error() string { return string(e) }
func (redisError) RedisError()     {}

// who looks at the old master once it is a replica says nothing: what it cannot write down as told, others would tell once more.
func TestAReplicaIsNotBelieved(t *testing.T) {
	b, w := newBench(t), &watcher{}
	s := b.subscribe(b.tr, w.group("g", time.Minute))
	b.entries("100-0")
	readDone(t, s, 1)
	tendAll(t, s)
	behind := b.copied()
	b.entries("200-0")
	readDone(t, s, 1)
	behind.takesOver("")
	require.NoError(t, b.client.Do(t.Context(), "replicaof", "127.0.0.1", "1").Err())
	tendAll(t, s)
	require.Empty(t, w.told(t))
	require.NoError(t, b.client.Do(t.Context(), "replicaof", "no", "one").Err())
	tendAll(t, s)
	require.Equal(t, [][2]string{{"100-0", "200-0"}}, w.told(t))
}

var _ redis.Error = redisError("")

// what was seen is remembered the more closely the newer it is, and where a connection broke.
func TestATrailGrowsThinner(t *testing.T) {
	var tr trail
	const end = 600_000
	for ms := uint64(1); ms <= end; ms += 7 {
		tr.add(position{ms, 3})
		if ms == 595_001 {
			tr.keep()
		}
		require.LessOrEqual(t, len(tr), trailMost)
	}
	newest := tr[len(tr)-1].at
	require.Less(t, end-newest.ms, uint64(7))
	for _, age := range []uint64{40, 200, 1_000, 10_000, 60_000} {
		require.True(t, slices.ContainsFunc(tr, func(m mark) bool {
			ago := newest.ms - m.at.ms
			return ago >= age && ago <= 2*age
		}), "about %d ms ago: %v", age, tr)
	}
	require.True(t, slices.ContainsFunc(tr, func(m mark) bool { return m.at == position{595_001, 3} }))
}
