package redisstream

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// bury stores n letters that died so long ago, one millisecond after the other, as entries with that id.
func (b *bench) bury(n int, ago time.Duration) {
	b.Helper()
	first := time.Now().Add(-ago).UnixMilli()
	pipe := b.client.Pipeline()
	for i := range n {
		pipe.XAdd(b.Context(), &redis.XAddArgs{Stream: "{orders}:g:dead", ID: fmt.Sprintf("%d-7", first+int64(i)), Values: []string{"id", fmt.Sprint(i), "data", "x"}})
	}
	_, err := pipe.Exec(b.Context())
	require.NoError(b, err)
}

// losses are the reports of letters removed.
func (w *watcher) losses(t testing.TB) (n int64, ranges [][2]string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, err := range w.warns {
		var e *transport.LossError
		require.ErrorAs(t, err, &e)
		require.Equal(t, []string{"orders", "g"}, []string{e.Topic, e.Group})
		require.True(t, e.Letters)
		n += e.Count
		ranges = append(ranges, [2]string{e.From, e.To})
	}
	return n, ranges
}

func (b *bench) dropped() int64 {
	b.Helper()
	l, err := b.tr.Lag(bounded(b), orders, "g")
	require.NoError(b, err)
	return l.LettersDropped
}

func TestLettersBeyondTheNumberAreRemoved(t *testing.T) {
	b := newBench(t)
	b.bury(203, time.Hour)
	var w watcher
	g := w.group("g", 0)
	g.Letters.MaxLen = 100
	s := b.subscribe(b.tr, g)
	all := b.letters()
	b.tr.survey(t.Context(), []*subscription{s})
	left := b.letters()
	require.Len(t, left, 100, "exactly")
	require.Equal(t, "103", left[0].ID, "the oldest go")
	n, ranges := w.losses(t)
	require.EqualValues(t, 103, n)
	require.Equal(t, [][2]string{{all[0].LetterID, all[102].LetterID}}, ranges, "one report")
	require.EqualValues(t, 103, b.dropped())
	b.tr.survey(t.Context(), []*subscription{s})
	require.EqualValues(t, 103, b.dropped())
}

func TestLettersBeyondTheAgeAreRemoved(t *testing.T) {
	b := newBench(t)
	b.bury(60, 2*time.Hour)
	b.bury(10, 30*time.Minute)
	var w watcher
	g := w.group("g", 0)
	g.Letters = transport.LetterBound{MaxLen: -1, MaxAge: time.Hour}
	s := b.subscribe(b.tr, g)
	young := b.put(dyingLetter("young", time.Now()), "")
	b.put(dyingLetter("old, and put after younger ones", time.Now().Add(-3*time.Hour)), "")
	b.tr.survey(t.Context(), []*subscription{s})
	left := b.letters()
	require.Len(t, left, 11)
	require.Equal(t, young, left[10].LetterID)
	require.EqualValues(t, 61, b.dropped())
	n, _ := w.losses(t)
	require.EqualValues(t, 61, n)
	require.Equal(t, []string{young}, b.indexed())
}

func TestLettersWithoutABoundStay(t *testing.T) {
	b := newBench(t)
	b.bury(300, 1000*time.Hour)
	var w watcher
	for _, bound := range []transport.LetterBound{{}, {MaxLen: -1}, {MaxAge: -time.Hour}, {MaxLen: 300, MaxAge: 1 << 62}} {
		g := w.group("g", 0)
		g.Letters = bound
		b.tr.survey(t.Context(), []*subscription{b.subscribe(b.tr, g)})
		require.Len(t, b.letters(), 300)
	}
	require.Empty(t, w.warns)
}

// Many consumers of a group remove what is beyond the bound once, and say so once, while more letters come.
func TestManyConsumersCountARemovedLetterOnce(t *testing.T) {
	b := newBench(t)
	b.bury(2000, time.Hour)
	watchers := make([]watcher, 6)
	var wg sync.WaitGroup
	for i := range watchers {
		g := watchers[i].group("g", 0)
		g.Letters.MaxLen = 50
		tr := b.transport()
		s := b.subscribe(tr, g)
		wg.Go(func() {
			for range 5 {
				tr.survey(t.Context(), []*subscription{s})
				_, err := tr.PutLetter(t.Context(), orders, "g", dyingLetter("more", time.Now()), "")
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	var told int64
	for i := range watchers {
		n, _ := watchers[i].losses(t)
		told += n
	}
	require.EqualValues(t, 2000+5*len(watchers)-len(b.letters()), b.dropped())
	require.EqualValues(t, b.dropped(), told)
}

// One look does not hold up the others for ever, and the next comes soon.
func TestManyLettersAreRemovedInSeveralLooks(t *testing.T) {
	b := newBench(t)
	b.bury(removeMost+5000, time.Hour)
	var w watcher
	g := w.group("g", 0)
	g.Letters.MaxLen = 10
	s := b.subscribe(b.tr, g)
	plan := func(at func(*item)) {
		b.tr.surveys.mu.Lock()
		defer b.tr.surveys.mu.Unlock()
		at(b.tr.surveys.items[s])
	}
	plan(func(it *item) { it.at = time.Now().Add(time.Hour) })
	b.tr.survey(t.Context(), []*subscription{s})
	require.Greater(t, len(b.letters()), 10)
	plan(func(it *item) { require.Less(t, time.Until(it.at), time.Minute) })
	b.tr.surveys.poke() // as its own goroutine would look again
	w.await(t, bounded(t), "the rest is removed", func() bool {
		return b.client.XLen(t.Context(), "{orders}:g:dead").Val() == 10
	})
	require.EqualValues(t, removeMost+5000-10, b.dropped())
}

func TestLettersAreRemovedWhenRedisIsFull(t *testing.T) {
	b := newBench(t)
	b.bury(100, time.Hour)
	s := b.subscribe(b.tr, transport.Group{Name: "g", Letters: transport.LetterBound{MaxAge: time.Minute}})
	require.NoError(t, b.client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	_, err := b.tr.PutLetter(bounded(t), orders, "g", dyingLetter("x", time.Now()), "")
	require.ErrorIs(t, err, transport.ErrNoRoom)
	b.tr.survey(t.Context(), []*subscription{s})
	require.Empty(t, b.letters())
	require.EqualValues(t, 100, b.dropped())
}

func TestRemovalsOfOneLookAddUp(t *testing.T) {
	s := &subscription{topic: orders, group: transport.Group{Name: "g"}}
	loss := s.removed(nil, []any{int64(2), "5-1", "5-2"})
	loss = s.removed(loss, []any{int64(3), "4-9", "5-1"})
	loss = s.removed(loss, []any{int64(1), "5-2", "50-0"})
	require.Equal(t, []any{int64(6), "4-9", "50-0"}, []any{loss.Count, loss.From, loss.To})
}

// Letters that were put and then deleted by hand leave their ids in the set, which must not hold up the bound.
func TestTheBoundWhereLettersWereDeletedByHand(t *testing.T) {
	b := newBench(t)
	for range 3 * removeBatch {
		b.put(dyingLetter("old", time.Now().Add(-48*time.Hour)), "")
	}
	require.NoError(t, b.client.Del(t.Context(), "{orders}:g:dead").Err())
	for range 20 {
		b.put(dyingLetter("new", time.Now()), "")
	}
	var w watcher
	g := w.group("g", 0)
	g.Letters = transport.LetterBound{MaxLen: 5, MaxAge: time.Hour}
	s := b.subscribe(b.tr, g)
	b.tr.survey(t.Context(), []*subscription{s})
	require.Len(t, b.letters(), 5)
	require.Len(t, b.indexed(), 5)
	require.EqualValues(t, 15, b.dropped())
	n, _ := w.losses(t)
	require.EqualValues(t, 15, n)
}
