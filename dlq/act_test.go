package dlq_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

func acts(t *testing.T, q *dlq.Queue) (as []dlq.Act) {
	t.Helper()
	for a, err := range q.Acts(t.Context()) {
		require.NoError(t, err)
		as = append(as, a)
	}
	return as
}

// TestEveryActIsOnRecordTwice: its beginning, and its end with how many.
func TestEveryActIsOnRecordTwice(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		bury(t, tr, named(5)...)
		q := queue(tr)
		ls := letters(t, q, dlq.Filter{})
		ctx := t.Context()
		id := func(i int) string { return ls[i].LetterID }
		var file strings.Builder

		_, err := q.Replay(ctx, dlq.Filter{IDs: []string{id(0)}}, dlq.ReplayOptions{Rate: 100})
		require.NoError(t, err)
		_, err = q.Replay(ctx, dlq.Filter{All: true}, dlq.ReplayOptions{DryRun: true})
		require.NoError(t, err)
		_, err = q.Discard(ctx, dlq.Filter{All: true, Text: "a secret"}, dlq.DiscardOptions{})
		require.NoError(t, err)
		newID, err := q.Edit(ctx, id(1), func(m *bus.Message) error { m.Body = []byte("a secret"); return nil })
		require.NoError(t, err)
		_, err = q.Edit(ctx, id(2), func(m *bus.Message) error { return errors.New("a secret") })
		require.Error(t, err)
		_, err = q.Export(ctx, &file, dlq.Filter{})
		require.NoError(t, err)
		_, err = q.Discard(ctx, dlq.Filter{All: true}, dlq.DiscardOptions{Max: 3})
		require.NoError(t, err)
		_, err = q.Import(ctx, strings.NewReader("a secret\n"+file.String()))
		require.Error(t, err)

		got := acts(t, q)
		for i, want := range []struct {
			what, begins, adds string
			count              int64
		}{
			{"replay", "1 letters, 100 a second: letters " + id(0), "", 1},
			{"edit", "letter " + id(1), ", which is now " + newID, 1},
			{"export", "all", "", 4},
			{"discard", "3 letters, for good: all", "", 3},
			{"import", "JSON lines", ", 1 passed over, 1 bad: failed: line 1: not JSON at byte 1", 3},
		} {
			require.Greater(t, len(got), 2*i+1)
			begin, end := got[2*i], got[2*i+1]
			assert.Equal(t, []string{"tester", want.what}, []string{begin.Who, begin.What})
			assert.Equal(t, []string{"tester", want.what}, []string{end.Who, end.What})
			assert.Equal(t, []int64{-1, want.count}, []int64{begin.Count, end.Count}, want.what)
			assert.Regexp(t, `^act [0-9a-f]{8}: `, begin.Detail)
			assert.Equal(t, begin.Detail[:14]+want.begins, begin.Detail)
			assert.Equal(t, begin.Detail+want.adds, end.Detail)
			assert.Less(t, time.Since(end.Time).Abs(), time.Hour)
		}
		require.Len(t, got, 10, "nothing was done: nothing is on record")
	})
}

func TestWhatCannotBeRecordedIsRefused(t *testing.T) {
	tr := &faulty{Transport: memory.New()}
	defer tr.Close()
	bury(t, tr, named(5)...)
	q := queue(tr)
	before := letters(t, q, dlq.Filter{})
	tr.record = func(transport.Act) error { return errAway }
	for call, err := range everyCall(t.Context(), q) {
		switch call {
		case "replay", "discard", "edit", "export", "import":
			assert.ErrorIs(t, err, errAway, call)
			assert.EqualError(t, err, "dlq: "+call+" orders.placed/billing: refused, because it cannot be recorded: the broker is away")
		default:
			assert.NoError(t, err, call)
		}
	}
	assert.Equal(t, before, letters(t, q, dlq.Filter{}))
}

func TestAnEndThatCannotBeRecordedIsTold(t *testing.T) {
	tr := &faulty{Transport: memory.New()}
	defer tr.Close()
	bury(t, tr, named(5)...)
	q := queue(tr)
	tr.record = func(a transport.Act) error {
		if a.Count >= 0 {
			return errAway
		}
		return nil
	}
	rep, err := q.Replay(t.Context(), dlq.Filter{All: true}, dlq.ReplayOptions{})
	assert.EqualError(t, err, "dlq: replay orders.placed/billing: done to 5 letters, but its end cannot be recorded: the broker is away")
	assert.Equal(t, 5, rep.Done)
	bury(t, tr, named(5)...)
	tr.replay = func([]string) error { return io.ErrUnexpectedEOF }
	_, err = q.Replay(t.Context(), dlq.Filter{All: true}, dlq.ReplayOptions{})
	assert.ErrorIs(t, err, errAway)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF, "both are told")
}

func TestWhoActs(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	bury(t, tr, named(1)...)
	q := dlq.NewQueue(tr, orders.Name(), "billing", dlq.QueueOptions{})
	_, err := q.Export(t.Context(), io.Discard, dlq.Filter{})
	require.NoError(t, err)
	host, err := os.Hostname()
	require.NoError(t, err)
	assert.Regexp(t, "^[^@]+@"+host+"$", acts(t, q)[0].Who)
}

func TestActsOnManyPages(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	for i := range 1001 {
		require.NoError(t, tr.RecordAct(t.Context(), transport.Topic{Name: orders.Name()}, "billing", transport.Act{Count: int64(i)}))
	}
	got := acts(t, queue(tr))
	require.Len(t, got, 1001)
	for i, a := range got {
		require.EqualValues(t, i, a.Count)
	}
	for range queue(tr).Acts(t.Context()) {
		break // and no more is read
	}
}

// TestADetailIsBounded: a filter of many letters, or of a long text, makes no long record.
func TestADetailIsBounded(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	bury(t, tr, named(30)...)
	q := queue(tr)
	var ids []string
	for _, l := range letters(t, q, dlq.Filter{}) {
		ids = append(ids, l.LetterID)
	}
	_, err := q.Replay(t.Context(), dlq.Filter{IDs: ids}, dlq.ReplayOptions{})
	require.NoError(t, err)
	assert.Contains(t, acts(t, q)[0].Detail, ": letters 1 2 3 4 5 6 7 8 9 10 and 20 more")
	_, err = q.Export(context.WithoutCancel(t.Context()), io.Discard, dlq.Filter{Reason: strings.Repeat("ü", 5000), Until: time.Unix(0, 0), Since: time.Unix(0, 0)})
	require.NoError(t, err)
	assert.Len(t, acts(t, q)[2].Detail, transport.MaxErrorText-1, "at the end of a character")
}

// TestAFailureIsOnRecord: however long the filter is.
func TestAFailureIsOnRecord(t *testing.T) {
	tr := &faulty{Transport: memory.New()}
	defer tr.Close()
	long := strings.Repeat("no such card ", 75)
	bury(t, tr, corpse{name: "0", err: long})
	tr.replay = func([]string) error { return errAway }
	q := queue(tr)
	_, err := q.Replay(t.Context(), dlq.Filter{Fingerprint: long}, dlq.ReplayOptions{})
	require.ErrorIs(t, err, errAway)
	assert.Contains(t, acts(t, q)[1].Detail, "no such card")
	assert.Contains(t, acts(t, q)[1].Detail, ": failed: "+errAway.Error())
}
