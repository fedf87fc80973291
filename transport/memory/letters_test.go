package memory_test

import (
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

func put(t *testing.T, tr *memory.Transport, group string, ago time.Duration) string {
	t.Helper()
	id, err := tr.PutLetter(t.Context(), topic, group, &transport.Letter{Message: &transport.Message{}, Died: time.Now().Add(-ago)}, "")
	require.NoError(t, err)
	return id
}

func TestLetterErrorsSayWhatToDo(t *testing.T) {
	tr, _ := one(t)
	ctx := t.Context()
	_, err := tr.PutLetter(ctx, topic, "g", nil, "")
	require.EqualError(t, err, "memory: put letter of g on t: a message is nil: leave it out")
	_, err = tr.PutLetter(ctx, topic, "g", &transport.Letter{}, "")
	require.ErrorContains(t, err, "a message is nil")
	_, err = tr.PutLetter(ctx, topic, "g g", &transport.Letter{Message: &transport.Message{}}, "")
	require.ErrorContains(t, err, `bad group name "g g": use a letter`)
	require.ErrorContains(t, tr.RecordAct(ctx, transport.Topic{}, "g", transport.Act{}), `bad topic name "": use a letter`)
	_, err = tr.Letter(ctx, topic, "g", "5")
	require.EqualError(t, err, `memory: letter of g on t: "5": transport: no such dead letter`)
	_, err = tr.Acts(ctx, topic, "g", "x", 1)
	require.ErrorContains(t, err, `bad act id "x": use the ActID of an act`)

	defer tr.Outage()()
	_, err = tr.Letter(ctx, topic, "g", "5")
	require.ErrorContains(t, err, "the broker is away")
	require.NotErrorIs(t, err, transport.ErrNoLetter)
	require.ErrorContains(t, tr.RecordAct(ctx, topic, "g", transport.Act{}), "the broker is away")
}

func TestPutMakesMissingIDsAndCutsErrors(t *testing.T) {
	tr, _ := one(t)
	l := &transport.Letter{Message: &transport.Message{}, Error: string(make([]byte, 2*transport.MaxErrorText))}
	id, err := tr.PutLetter(t.Context(), topic, "g", l, "")
	require.NoError(t, err)
	got, err := tr.Letter(t.Context(), topic, "g", id)
	require.NoError(t, err)
	require.NotEmpty(t, got.ID)
	require.Len(t, got.Error, transport.MaxErrorText)
	require.Empty(t, l.ID, "the caller's message is the caller's")
}

// The acts take a bounded amount of memory, and their ids go on.
func TestOldActsAreForgotten(t *testing.T) {
	tr, _ := one(t)
	const n = 45_000
	for i := range n {
		require.NoError(t, tr.RecordAct(t.Context(), topic, "g", transport.Act{Count: int64(i)}))
	}
	as, err := tr.Acts(t.Context(), topic, "g", "", n)
	require.NoError(t, err)
	require.LessOrEqual(t, len(as), 20_000)
	require.GreaterOrEqual(t, len(as), 10_000)
	for i, a := range as {
		require.EqualValues(t, n-len(as)+i, a.Count)
	}
	last, err := tr.Acts(t.Context(), topic, "g", as[len(as)-2].ActID, 5)
	require.NoError(t, err)
	require.Equal(t, as[len(as)-1:], last)
	for _, after := range []string{as[len(as)-1].ActID, "18446744073709551615"} {
		none, err := tr.Acts(t.Context(), topic, "g", after, 5)
		require.NoError(t, err)
		require.Empty(t, none)
	}
}

// Letters that come together beyond the bound are reported together, those that died long ago too.
func TestBoundReportsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		defer tr.Close()
		warned := make(chan error, 100)
		_, err := tr.Subscribe(t.Context(), topic, transport.Group{
			Name: "g", Letters: transport.LetterBound{MaxLen: 5, MaxAge: time.Hour}, Warn: func(err error) { warned <- err },
		})
		require.NoError(t, err)
		for range 20 {
			put(t, tr, "g", 2*time.Hour)
			time.Sleep(50 * time.Millisecond)
		}
		require.EqualError(t, <-warned, "dead letters removed: topic t, group g: there were more than the group keeps, or for longer: 20 letters (positions 1 to 20)")
		for range 12 {
			put(t, tr, "g", 0)
		}
		require.ErrorContains(t, <-warned, ": 7 letters (positions 21 to 27)")
		time.Sleep(59 * time.Minute)
		require.Empty(t, warned)
		require.ErrorContains(t, <-warned, ": 5 letters (positions 28 to 32)")
	})
}

// Of two consumers with different bounds each removes what is beyond its own.
func TestTightestBoundHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, _ := one(t)
		for _, n := range []int64{-1, 3, 8} {
			_, err := tr.Subscribe(t.Context(), topic, transport.Group{Name: "g", Letters: transport.LetterBound{MaxLen: n}})
			require.NoError(t, err)
		}
		for range 20 {
			put(t, tr, "g", 0)
		}
		time.Sleep(time.Minute)
		n, err := tr.CountLetters(t.Context(), topic, "g")
		require.NoError(t, err)
		require.EqualValues(t, 3, n)
	})
}

// A consumer that is suspended removes nothing, and does when it goes on. A letter that dies after all others is the last to go.
func TestBoundAndTheSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		defer tr.Close()
		sub, err := tr.Subscribe(t.Context(), topic, transport.Group{Name: "g", Letters: transport.LetterBound{MaxAge: time.Minute}})
		require.NoError(t, err)
		put(t, tr, "g", 0)
		resume := tr.Stall(sub)
		put(t, tr, "g", -250*365*24*time.Hour) // far in the future
		put(t, tr, "g", time.Hour)
		time.Sleep(time.Hour)
		lag, err := tr.Lag(t.Context(), topic, "g")
		require.NoError(t, err)
		require.Equal(t, transport.Lag{Dead: 3}, lag)
		resume()
		time.Sleep(time.Minute)
		lag, err = tr.Lag(t.Context(), topic, "g")
		require.NoError(t, err)
		require.Equal(t, transport.Lag{Dead: 1, LettersDropped: 2}, lag)
	})
}

// Letters that are bounded cost no goroutine while they keep, and nobody is told of them after Close.
func TestBoundWithoutGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		tr := memory.New()
		sub, err := tr.Subscribe(t.Context(), topic, transport.Group{
			Name: "g", Letters: transport.LetterBound{MaxAge: time.Hour}, Warn: func(err error) { t.Error("warned after Close:", err) },
		})
		require.NoError(t, err)
		publish(t, tr, "a")
		d := receive(t, sub, 1)[0]
		require.NoError(t, sub.Settle(t.Context(), []transport.Settlement{{Delivery: d, Verdict: transport.Dead}}))
		synctest.Wait()
		require.LessOrEqual(t, runtime.NumGoroutine(), before)
		require.NoError(t, tr.Close())
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.LessOrEqual(t, runtime.NumGoroutine(), before)
	})
}

// What a group is sent before its first subscription does not keep the topic from being trimmed, nor is it a group to Lag.
func TestEarlyGroupReadsNothing(t *testing.T) {
	tr, sub := one(t)
	put(t, tr, "early", 0)
	short := transport.Topic{Name: "t", Retention: transport.Retention{MaxLen: 10}}
	for range 100 {
		require.NoError(t, tr.Publish(t.Context(), short, fresh(10)))
		var ss []transport.Settlement
		for _, d := range receive(t, sub, 10) {
			ss = append(ss, transport.Settlement{Delivery: d, Verdict: transport.Done})
		}
		require.NoError(t, sub.Settle(t.Context(), ss))
	}
	require.Less(t, tr.Stored(topic), 300)
	_, err := tr.Lag(t.Context(), topic, "early")
	require.ErrorIs(t, err, transport.ErrNoGroup)
}

// Letters are removed from either end and from the middle, and what is left is found.
func TestLettersAfterManyRemovals(t *testing.T) {
	tr, _ := one(t)
	for range 100 {
		put(t, tr, "g", 0)
	}
	for i := range 100 {
		if i%10 != 3 {
			n, err := tr.Discard(t.Context(), topic, "g", strconv.Itoa(i+1))
			require.NoError(t, err)
			require.Equal(t, 1, n)
		}
	}
	ls, err := tr.Letters(t.Context(), topic, "g", "4", 100)
	require.NoError(t, err)
	require.Len(t, ls, 9)
	for _, l := range ls {
		_, err := tr.Letter(t.Context(), topic, "g", l.LetterID)
		require.NoError(t, err)
	}
	last, err := tr.Letters(t.Context(), topic, "g", "18446744073709551615", 5)
	require.NoError(t, err)
	require.Empty(t, last)
}
