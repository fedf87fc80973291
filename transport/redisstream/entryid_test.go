package redisstream

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawID(t *rapid.T, label string) (ms, seq uint64, id string) {
	n := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 3), rapid.Just(uint64(math.MaxUint64)))
	ms, seq = n.Draw(t, label+" ms"), n.Draw(t, label+" seq")
	return ms, seq, fmt.Sprintf("%d-%d", ms, seq)
}

func TestEntryIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms, seq, id := drawID(t, "a")
		gotMS, gotSeq, ok := parseEntryID(id)
		require.True(t, ok)
		require.Equal(t, []uint64{ms, seq}, []uint64{gotMS, gotSeq})

		ms2, seq2, id2 := drawID(t, "b")
		require.Equal(t, ms < ms2 || ms == ms2 && seq < seq2, entryIDLess(id, id2))

		before := entryIDBefore(ms, seq)
		if ms == 0 && seq == 0 {
			require.Equal(t, "0-0", before, "nothing is before the first")
			return
		}
		require.True(t, entryIDLess(before, id))
		require.False(t, entryIDLess(before, id2) && entryIDLess(id2, id), "%s is between %s and %s", id2, before, id)
	})
}

func TestNoEntryIDs(t *testing.T) {
	for _, s := range []string{"", "-", "1-", "-1", "a-1", "1-a", "1-2-3", "18446744073709551616-0", "+", "$", ">", " 1-1", "1_0-1"} {
		_, _, ok := parseEntryID(s)
		require.False(t, ok, s)
		require.True(t, entryTime(s).IsZero(), s)
	}
	_, seq, ok := parseEntryID("5")
	require.True(t, ok)
	require.Zero(t, seq)
}

func TestEntryTime(t *testing.T) {
	require.Equal(t, time.UnixMilli(1526919030474), entryTime("1526919030474-55"))
	require.True(t, entryTime("18446744073709551615-0").IsZero())
}
