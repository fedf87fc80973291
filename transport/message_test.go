package transport

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCloneSharesNothing(t *testing.T) {
	m := &Message{ID: "i", Headers: Headers{{"a", "1"}}, Body: []byte("body"), Time: time.Now()}
	c := m.Clone()
	require.Equal(t, m, c)
	c.Headers[0].Value, c.Body[0], c.ID = "2", 'B', "j"
	require.Equal(t, Headers{{"a", "1"}}, m.Headers)
	require.Equal(t, "body", string(m.Body))
	require.Equal(t, "i", m.ID)
	require.Equal(t, &Message{}, (&Message{}).Clone(), "nothing stays nothing")
}

func TestNewID(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for last, i := "", 0; i < 1000; i++ {
				id := NewID()
				mu.Lock()
				require.False(t, seen[id])
				seen[id] = true
				mu.Unlock()
				require.Less(t, last, id, "in the order of its making")
				require.EqualValues(t, 7, uuid.MustParse(id).Version())
				last = id
			}
		})
	}
	wg.Wait()
}

func TestHeadersAreCopiedOnWrite(t *testing.T) {
	h := make(Headers, 0, 10) // room to append to, which must not be used
	h = append(h, Header{"a", "1"}, Header{"b", "2"})
	before := slices.Clone(h)
	one, two := h, h
	one.Set("c", "3")
	two.Set("d", "4")
	one.Set("a", "9")
	two.Del("b")
	require.Equal(t, before, h)
	require.Equal(t, Headers{{"a", "9"}, {"b", "2"}, {"c", "3"}}, one)
	require.Equal(t, Headers{{"a", "1"}, {"d", "4"}}, two)
}

func TestHeadersLookup(t *testing.T) {
	var h Headers
	h.Del("nothing")
	require.Empty(t, h)
	require.Empty(t, h.Get("a"))
	h.Set("a", "")
	v, ok := h.Lookup("a")
	require.True(t, ok)
	require.Empty(t, v)
	_, ok = h.Lookup("A")
	require.False(t, ok, "names differ by case")
}

// Headers behave as a map does, and no write is seen through an older copy.
func TestHeadersAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h Headers
		model := map[string]string{}
		name := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			old, was := h, slices.Clone(h)
			if n := name.Draw(t, "name"); rapid.Bool().Draw(t, "set") {
				v := rapid.String().Draw(t, "value")
				h.Set(n, v)
				model[n] = v
			} else {
				h.Del(n)
				delete(model, n)
			}
			require.Equal(t, len(was), len(old))
			require.True(t, slices.Equal(was, old), "a copy changed")
		}
		require.Len(t, h, len(model))
		for n, v := range model {
			require.Equal(t, v, h.Get(n))
		}
	})
}

func TestValidHeaderName(t *testing.T) {
	for _, good := range []string{"a", "traceparent", "X-Y", "!", "~", strings.Repeat("n", 128)} {
		require.True(t, ValidHeaderName(good), "%q", good)
	}
	for _, bad := range []string{"", " ", "a b", "tab\t", "ü", "\x7f", "a\x00", strings.Repeat("n", 129)} {
		require.False(t, ValidHeaderName(bad), "%q", bad)
	}
}
