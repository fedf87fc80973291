package redisstream

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// replyOf is what a server would answer. nil fields are those of a deleted entry.
func replyOf(streams map[string][]entry) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(streams))
	for _, name := range []string{"orders", "retry"} {
		es, ok := streams[name]
		if !ok {
			continue
		}
		fmt.Fprintf(&b, "*2\r\n%s*%d\r\n", bulk(name), len(es))
		for _, e := range es {
			b.WriteString("*2\r\n" + bulk(e.id))
			if e.fields == nil {
				b.WriteString("*-1\r\n")
				continue
			}
			fmt.Fprintf(&b, "*%d\r\n", 2*len(e.fields))
			for _, f := range e.fields {
				b.WriteString(bulk(f.name) + bulk(f.value))
			}
		}
	}
	return b.String()
}

var anyFields = rapid.Custom(func(t *rapid.T) fields {
	names := rapid.SliceOfNDistinct(anyText, 0, 40, rapid.ID).Draw(t, "names")
	fs := fields{}
	for _, name := range names {
		if name != fieldFields {
			fs = append(fs, field{name, anyText.Draw(t, "value")})
		}
	}
	return fs
})

func TestRepliesAreRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := map[string][]entry{}
		var all []entry
		for name, src := range map[string]source{"orders": fromTopic, "retry": fromRetry} {
			for i := range rapid.IntRange(0, 5).Draw(t, name) {
				e := entry{src: src, id: fmt.Sprintf("%d-0", i+1), count: 1, fields: anyFields.Draw(t, "fields")}
				if rapid.IntRange(0, 9).Draw(t, "deleted") == 0 {
					e.fields = nil
				}
				want[name] = append(want[name], e)
			}
		}
		all = append(append(all, want["orders"]...), want["retry"]...)
		var rr readReply
		for range 2 { // the second uses again what the first has left
			require.NoError(t, rr.parse(replyOf(want), "retry"))
			require.Equal(t, len(all), len(rr.entries))
			for i, e := range rr.entries {
				require.Equal(t, all[i], e)
			}
			rr.forget()
		}
	})
}

func TestOtherReplies(t *testing.T) {
	var rr readReply
	for _, null := range []string{"*-1\r\n", "$-1\r\n", "*0\r\n"} {
		require.NoError(t, rr.parse(null, "retry"), null)
		require.Empty(t, rr.entries)
	}
	for reply, want := range map[string]string{
		"-NOGROUP No such key\r\n":                       "NOGROUP No such key",
		"-UNBLOCKED the stream key no longer exists\r\n": "UNBLOCKED the stream key no longer exists",
	} {
		err := rr.parse(reply, "retry")
		require.EqualError(t, err, want)
		assert.True(t, isAnswer(err), "the server said so: %v", err)
	}
	assert.True(t, isGroupGone(rr.parse("-NOGROUP x\r\n", "retry")))
	assert.True(t, breaksLink(rr.parse("-READONLY You can't write\r\n", "retry")))
	assert.True(t, breaksLink(rr.parse("-MOVED 3999 127.0.0.1:6381\r\n", "retry")))
	assert.True(t, redis.IsPermissionError(rr.parse("-NOPERM this user has no permissions\r\n", "retry")))
	assert.True(t, redis.IsLoadingError(rr.parse("-LOADING Redis is loading\r\n", "retry")))
	for _, broken := range []string{"", "x", "*1\r\n", "*1\r\n*1\r\n", "*1\r\n*2\r\n$9\r\norders\r\n", "*1\r\n*2\r\n$6\r\norders\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$-1\r\n"} {
		require.ErrorIs(t, rr.parse(broken, "retry"), errReply, "%q", broken)
	}
}

func FuzzReply(f *testing.F) {
	f.Add(replyOf(map[string][]entry{"orders": {{id: "1-0", fields: fields{{"id", "1"}, {"data", "x"}}}}, "retry": {{id: "2-0"}}}))
	f.Add(replyOf(map[string][]entry{"retry": {{id: "2-0", fields: fields{{fieldFields, "1:a1:b"}, {"data", "x"}, {"data", "y"}}}}}))
	f.Add("-ERR x\r\n")
	f.Add("*1000000000\r\n*2\r\n")
	f.Fuzz(func(t *testing.T, reply string) {
		var rr readReply
		_ = rr.parse(reply, "retry")
		for _, e := range rr.entries {
			for i, f := range e.fields {
				require.False(t, e.fields[i+1:].index(f.name) >= 0, "a name occurs once")
			}
		}
	})
}

func TestKeptFieldsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := anyFields.Draw(t, "fields")
		if rapid.Bool().Draw(t, "long") {
			fs = append(fs, field{"long", strings.Repeat("x", rapid.SampledFrom([]int{127, 128, 16383, 16384, 3 << 20}).Draw(t, "length"))})
		}
		var b strings.Builder
		keep(&b, fs)
		require.Equal(t, b.Len(), keptSize(fs))
		require.True(t, slices.Equal(fs, kept(b.String()).appendTo(nil)))
	})
}

// TestAReadAsksForNoMoreThanFits: COUNT is a number of entries, whatever their size.
func TestAReadAsksForNoMoreThanFits(t *testing.T) {
	var rr readReply
	assert.Equal(t, 1000, rr.within(1000), "nothing is known yet")
	read := func(n, size int) {
		es := make([]entry, n)
		for i := range es {
			es[i] = entry{id: "1-0", fields: fields{{"data", strings.Repeat("x", size)}}}
		}
		rr.buffer = append(rr.buffer, replyOf(map[string][]entry{"orders": es})...)
		require.NoError(t, rr.parse(rr.text(), "retry"))
		require.Equal(t, n, len(rr.entries))
		rr.forget()
	}
	read(10, 100_000)
	assert.InDelta(t, maxReply/100_000, rr.within(1000), 1)
	read(1, 3*maxReply)
	assert.Equal(t, 1, rr.within(1000), "one at least")
	assert.Nil(t, rr.buffer, "a buffer that is too large is not kept")
	read(1000, 100)
	assert.Equal(t, 1000, rr.within(1000))
	read(0, 0)
	assert.Equal(t, 1000, rr.within(1000), "an empty answer tells nothing")
}
