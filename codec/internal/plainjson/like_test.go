package plainjson_test

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/codec/internal/plainjson"
)

// The zoo: types that are plain, in all their forms.

type status string

type tags []string

type order struct {
	ID       string            `json:"id"`
	Customer string            `json:"customer"`
	Cents    int64             `json:"cents"`
	Placed   time.Time         `json:"placed"`
	Items    []string          `json:"items"`
	Express  bool              `json:"express"`
	State    status            `json:"state,omitempty"`
	Weight   float64           `json:"weight"`
	Notes    map[string]string `json:"notes,omitempty"`
	Lines    []line            `json:"lines"`
	Parent   *order            `json:"parent,omitempty"`
}

type line struct {
	SKU   string
	Count uint16 `json:"count"`
}

type numbers struct {
	A int8     `json:"a"`
	B uint8    `json:"b"`
	C int      `json:"c,omitzero"`
	D uint64   `json:"d"`
	E float32  `json:"e"`
	F *float64 `json:"f"`
	G []int32  `json:"g"`
	H [2]uint  `json:"h"`
	I []uint8  `json:"i"`
	J [3]byte  `json:"j"`
	K *bool    `json:"k,omitempty"`
}

type nested struct {
	Name  status              `json:"name"`
	Tags  tags                `json:"tags"`
	Kids  []nested            `json:"kids,omitzero"`
	ByKey map[string]*nested  `json:"by_key"`
	State map[status]int      `json:"state"`
	Lists map[string][]string `json:"lists"`
	Times []*time.Time        `json:"times"`
	Until time.Time           `json:"until,omitzero"`
	Wait  time.Duration       `json:"wait"`
	Out   string              `json:"-"`
	Pair  [2]struct{ X, Y int }
	_     chan int
}

var zoo = []reflect.Type{
	reflect.TypeFor[order](), reflect.TypeFor[*order](), reflect.TypeFor[[]order](), reflect.TypeFor[numbers](), reflect.TypeFor[nested](),
	reflect.TypeFor[map[string]nested](), reflect.TypeFor[map[string]string](), reflect.TypeFor[map[status]time.Time](),
	reflect.TypeFor[string](), reflect.TypeFor[status](), reflect.TypeFor[int64](), reflect.TypeFor[uint8](), reflect.TypeFor[float64](), reflect.TypeFor[float32](),
	reflect.TypeFor[bool](), reflect.TypeFor[time.Time](), reflect.TypeFor[**time.Time](), reflect.TypeFor[[]byte](), reflect.TypeFor[[]string](),
	reflect.TypeFor[[][]int](), reflect.TypeFor[[2][]*int8](), reflect.TypeFor[struct{}](), reflect.TypeFor[[]struct{}](),
}

func compile(t require.TestingT, typ reflect.Type) *plainjson.Program {
	p, plain := plainjson.Compile(typ)
	require.True(t, plain, "%v", typ)
	return p
}

// readsLike says whether body is read, and fails if the result is not that of encoding/json.
func readsLike(t require.TestingT, typ reflect.Type, body []byte) bool {
	got, want := reflect.New(typ), reflect.New(typ)
	mine := bytes.Clone(body)
	if !compile(t, typ).Read(mine, got.Elem()) {
		return false
	}
	clear(mine) // what was read must not lie in it
	require.NoError(t, json.Unmarshal(body, want.Interface()), "%v from %q", typ, body)
	require.Equal(t, want.Elem().Interface(), got.Elem().Interface(), "%v from %q", typ, body)
	writesLike(t, got.Elem())
	return true
}

// writesLike says whether v is written, and fails if the result is not that of encoding/json.
func writesLike(t require.TestingT, v reflect.Value) bool {
	out, ok := compile(t, v.Type()).Append([]byte("before"), v)
	if !ok {
		return false
	}
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	require.NoError(t, enc.Encode(v.Addr().Interface()), "%v", v.Type())
	require.Equal(t, "before"+want.String(), string(out)+"\n", "%v", v.Type())
	return true
}

// FuzzRead looks for bodies that are read otherwise than encoding/json does.
func FuzzRead(f *testing.F) {
	for _, c := range taken {
		f.Add([]byte(c.body))
	}
	for _, c := range refused {
		f.Add([]byte(c.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, typ := range zoo {
			readsLike(t, typ, body)
		}
	})
}

// FuzzWrite looks for texts and numbers that are written otherwise than encoding/json does.
func FuzzWrite(f *testing.F) {
	f.Add("a<b>&\u2028\u2029\x7f\x00\b\f\n\r\t\"\\/é😀", 1e-7, int64(-1), uint64(1<<63))
	f.Add("\xff", 1e21, int64(1<<62), uint64(7))
	f.Add("\ufffd", math.Copysign(0, -1), int64(-62135596801), uint64(0))
	f.Fuzz(func(t *testing.T, s string, d float64, i int64, u uint64) {
		b := i%2 == 0
		writesLike(t, reflect.ValueOf(&order{
			ID: s, Cents: i, Placed: time.Unix(i, int64(u%1e9)).In(time.FixedZone(s, int(u%200_000)-100_000)), Items: []string{s, ""},
			Weight: d, Notes: map[string]string{s: s, "": s, "b": ""}, Lines: []line{{s, uint16(u)}}, Parent: &order{State: status(s)},
		}).Elem())
		writesLike(t, reflect.ValueOf(&numbers{A: int8(i), B: uint8(u), C: int(i), D: u, E: float32(d), F: &d, G: []int32{int32(i)}, I: []byte(s), K: &b}).Elem())
		writesLike(t, reflect.ValueOf(&nested{Name: status(s), ByKey: map[string]*nested{s: nil, "x": {}}, State: map[status]int{status(s): 1, "y": 2}}).Elem())
	})
}
