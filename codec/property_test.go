package codec_test

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/codec"
)

// An event has all kinds of fields that both JSON and MessagePack carry without loss.
type event struct {
	Text    string           `json:"text"`
	Int     int              `json:"int"`
	Small   int8             `json:"small"`
	Big     uint64           `json:"big"`
	Float   float64          `json:"float"`
	Short   float32          `json:"short"`
	Yes     bool             `json:"yes"`
	At      time.Time        `json:"at"`
	Wait    time.Duration    `json:"wait"`
	Raw     []byte           `json:"raw"`
	Names   []string         `json:"names"`
	Counts  map[string]int64 `json:"counts"`
	Child   *event           `json:"child"`
	Events  []event          `json:"events"`
	Byte    [3]byte          `json:"byte"`
	Numbers [2]int16         `json:"numbers"`
	Skipped string           `json:"skipped,omitempty"`
}

func drawEvent(t *rapid.T, depth int) event {
	e := event{
		Text: rapid.String().Draw(t, "text"), Int: rapid.Int().Draw(t, "int"), Small: rapid.Int8().Draw(t, "small"),
		Big: rapid.Uint64().Draw(t, "big"), Float: rapid.Float64().Draw(t, "float"), Short: rapid.Float32().Draw(t, "short"),
		Yes: rapid.Bool().Draw(t, "yes"), Wait: time.Duration(rapid.Int64().Draw(t, "wait")),
		At:      time.Unix(rapid.Int64Range(0, 1<<36).Draw(t, "at"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
		Raw:     rapid.SliceOf(rapid.Byte()).Draw(t, "raw"),
		Names:   rapid.SliceOf(rapid.String()).Draw(t, "names"),
		Counts:  rapid.MapOf(rapid.String(), rapid.Int64()).Draw(t, "counts"),
		Byte:    [3]byte{rapid.Byte().Draw(t, "b0"), rapid.Byte().Draw(t, "b1")},
		Numbers: [2]int16{rapid.Int16().Draw(t, "n0"), rapid.Int16().Draw(t, "n1")},
		Skipped: rapid.SampledFrom([]string{"", "there"}).Draw(t, "skipped"),
	}
	if e.At.Year() > 9999 {
		e.At = time.Time{} // JSON has no later years
	}
	if depth > 0 && rapid.Bool().Draw(t, "nested") {
		child := drawEvent(t, depth-1)
		e.Child = &child
		e.Events = []event{drawEvent(t, depth-1)}
	}
	return e
}

// normal gives e the form that decoding gives it.
func normal(e event) event {
	if !e.At.IsZero() {
		e.At = e.At.UTC()
	}
	if e.Child != nil {
		child := normal(*e.Child)
		e.Child = &child
	}
	for i := range e.Events {
		e.Events[i] = normal(e.Events[i])
	}
	return e
}

func TestEventsRoundTrip(t *testing.T) {
	asJSON, asMsgPack := codec.JSON[event](), codec.MsgPack[event]()
	either := codec.Reads(asJSON, asMsgPack)
	rapid.Check(t, func(t *rapid.T) {
		in := drawEvent(t, 2)
		for _, c := range []codec.Codec[event]{asJSON, asMsgPack} {
			body, err := c.Append([]byte("before"), in)
			require.NoError(t, err)
			require.Equal(t, "before", string(body[:6]))
			got, err := either.Decode(c.ContentType(), body[6:])
			require.NoError(t, err)
			require.Equal(t, in, normal(got), c.ContentType())
		}
	})
}

// drawAny makes a value of the types that MsgPack decodes an interface to.
func drawAny(t *rapid.T, depth int) any {
	kinds := []string{"nil", "bool", "negative", "positive", "float", "string", "time", "list", "map"}
	if depth == 0 {
		kinds = kinds[:7]
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "bool":
		return rapid.Bool().Draw(t, "bool")
	case "negative":
		return rapid.Int64Max(-1).Draw(t, "negative")
	case "positive":
		return rapid.Uint64Min(128).Draw(t, "positive")
	case "float":
		return rapid.Float64().Draw(t, "float")
	case "string":
		return rapid.String().Draw(t, "string")
	case "time":
		return time.Unix(rapid.Int64Range(0, math.MaxUint32).Draw(t, "time"), 0)
	case "list":
		list := []any{}
		for range rapid.IntRange(0, 20).Draw(t, "len") {
			list = append(list, drawAny(t, depth-1))
		}
		return list
	case "map":
		m := map[string]any{}
		for range rapid.IntRange(0, 20).Draw(t, "len") {
			m[rapid.String().Draw(t, "key")] = drawAny(t, depth-1)
		}
		return m
	}
	return nil
}

func TestMsgPackAnyRoundTrip(t *testing.T) {
	c := codec.MsgPack[any]()
	rapid.Check(t, func(t *rapid.T) {
		in := drawAny(t, 4)
		body, err := c.Append(nil, in)
		require.NoError(t, err)
		got, err := c.Decode("", body)
		require.NoError(t, err)
		require.Equal(t, in, got)
	})
}

// Whatever is done to a body, decoding it does not panic and keeps its promise about memory.
func TestMsgPackDecodesChangedBodies(t *testing.T) {
	c := codec.MsgPack[event]()
	rapid.Check(t, func(t *rapid.T) {
		body, err := c.Append(nil, drawEvent(t, 1))
		require.NoError(t, err)
		for range rapid.IntRange(1, 5).Draw(t, "changes") {
			at := rapid.IntRange(0, len(body)-1).Draw(t, "at")
			body[at] = rapid.SampledFrom([]byte{0, 0x80, 0x8f, 0x90, 0x9f, 0xc0, 0xc7, 0xd7, 0xdc, 0xdd, 0xde, 0xdf, 0xff}).Draw(t, "byte")
		}
		mustStayModest(t, len(body), func() { _, _ = c.Decode("", body) })
	})
}

// mustStayModest fails if f allocates more than decoding n bytes may. Generous: other goroutines count too.
func mustStayModest(t interface{ Fatalf(string, ...any) }, n int, f func()) {
	if took, most := allocates(f), uint64(8<<20+512*n); took > most {
		t.Fatalf("decoding %d bytes allocates %d, more than %d", n, took, most)
	}
}

func TestCodecsOfManyTypesMakeNoDifference(t *testing.T) {
	// Codecs share pools: what one leaves in a pooled encoder must not show in another's result.
	a, b := codec.MsgPack[map[string]int](), codec.MsgPack[event]()
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t, 1)
		one, err := b.Append(nil, e)
		require.NoError(t, err)
		_, err = a.Append(one[:len(one):len(one)], rapid.MapOf(rapid.String(), rapid.Int()).Draw(t, "map"))
		require.NoError(t, err)
		got, err := b.Decode("", one)
		require.NoError(t, err)
		require.True(t, reflect.DeepEqual(e, normal(got)))
	})
	assert.NotNil(t, a)
}
