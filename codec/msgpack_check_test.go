package codec

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"
)

func TestCheckTable(t *testing.T) {
	long := func(code byte, n uint32, payload int) []byte {
		return append([]byte{code, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, make([]byte, payload)...)
	}
	for name, test := range map[string]struct {
		body []byte
		want string // "" for sound
	}{
		"fixint":              {[]byte{0x7f}, ""},
		"negative fixint":     {[]byte{0xe0}, ""},
		"nil":                 {[]byte{0xc0}, ""},
		"unused":              {[]byte{0xc1}, "a byte that MessagePack does not use"},
		"nothing":             {nil, "ends too early"},
		"uint64":              {append([]byte{0xcf}, make([]byte, 8)...), ""},
		"uint64 cut":          {append([]byte{0xcf}, make([]byte, 7)...), "ends too early"},
		"float32":             {append([]byte{0xca}, make([]byte, 4)...), ""},
		"str8":                {[]byte{0xd9, 1, 'a'}, ""},
		"str16 cut":           {[]byte{0xda, 0, 2, 'a'}, "announces more"},
		"str32":               {long(0xdb, 3, 3), ""},
		"bin32 bomb":          {long(0xc6, 0xffffffff, 0), "announces more"},
		"bin32":               {long(0xc6, 70_000, 70_000), ""},
		"array":               {[]byte{0x92, 1, 2}, ""},
		"array16":             {[]byte{0xdc, 0, 2, 1, 2}, ""},
		"array32 bomb":        {long(0xdd, 0xffffffff, 0), "announces more"},
		"map32 bomb":          {long(0xdf, 0x7fffffff, 0), "announces more"},
		"map":                 {[]byte{0x81, 1, 2}, ""},
		"map without value":   {[]byte{0x81, 1}, "announces more"},
		"sum over levels":     {[]byte{0x92, 0x92, 1, 2}, "announces more"},
		"sum with a string":   {[]byte{0x92, 0xa2, 'a', 'b'}, "announces more"},
		"trailing":            {[]byte{0xc0, 0xc0}, "bytes follow the value"},
		"fixext1":             {[]byte{0xd4, 5, 0}, ""},
		"fixext16 cut":        {append([]byte{0xd8, 5}, make([]byte, 15)...), "announces more"},
		"ext8":                {[]byte{0xc7, 2, 5, 0, 0}, ""},
		"ext8 empty":          {[]byte{0xc7, 0, 5}, ""},
		"ext8 without type":   {[]byte{0xc7, 0}, "ends too early"},
		"ext32 bomb":          {append(long(0xc9, 0xffffffff, 0), 5), "announces more"},
		"interned":            {[]byte{0xd4, 0x80, 0}, "interned strings"},
		"64 levels":           {append(bytes.Repeat([]byte{0x91}, 64), 0xc0), ""},
		"65 levels":           {append(bytes.Repeat([]byte{0x91}, 65), 0xc0), "deeper than 64 levels"},
		"65 levels of maps":   {append(bytes.Repeat([]byte{0x81, 1}, 65), 0xc0), "deeper than 64 levels"},
		"65 levels of keys":   {append(bytes.Repeat([]byte{0x81}, 65), make([]byte, 66)...), "deeper than 64 levels"},
		"ten million levels":  {bytes.Repeat([]byte{0x91}, 10<<20), "deeper than 64 levels"},
		"wide and not deep":   {append(long(0xdd, 70_000, 0), make([]byte, 70_000)...), ""},
		"wide, one too short": {append(long(0xdd, 70_000, 0), make([]byte, 69_999)...), "announces more"},
	} {
		t.Run(name, func(t *testing.T) {
			f := new(msgpackChecker).check(test.body, nil)
			if test.want == "" {
				assert.Nil(t, f)
			} else {
				require.NotNil(t, f)
				assert.Contains(t, f.reason, test.want)
			}
			if len(test.body) > 100_000 {
				return
			}
			// The library's own walk must agree on what is a whole value.
			r := bytes.NewReader(test.body)
			whole := msgpack.NewDecoder(r).Skip() == nil && r.Len() == 0
			if f == nil {
				assert.True(t, whole)
			}
		})
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	body, err := msgpack.Marshal(map[string]any{"a": []int{1, 2, 3}, "b": "text"})
	require.NoError(t, err)
	var c msgpackChecker
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if c.check(body, nil) != nil {
			t.Fatal("refused")
		}
	}))
}

func TestEveryTruncationIsRefused(t *testing.T) {
	body, err := msgpack.Marshal(map[string]any{"a": []any{1, "two", 3.5, nil, map[string]any{"x": []byte("yz")}}})
	require.NoError(t, err)
	for n := range body {
		assert.NotNil(t, new(msgpackChecker).check(body[:n], nil), "%d of %d bytes", n, len(body))
	}
	assert.Nil(t, new(msgpackChecker).check(body, nil))
}

type small struct{ A, B, C, D int64 }

type large struct{ Room [100]int64 }

type nested struct {
	Small []small
	Large map[string]*large
}

func TestShapesAreOnlyForLargeElements(t *testing.T) {
	for _, light := range []any{0, "", []byte{}, []int{}, []small{}, map[string]int{}, map[string]any{}, small{}, large{},
		[]*small{}, struct{ A, B []string }{}, [1000]int{}} {
		assert.Nil(t, shapeOf(reflect.TypeOf(light)), "%T", light)
	}
	for _, heavy := range []any{[]large{}, []*large{}, map[string]large{}, &large{}, nested{}, []nested{},
		struct{ *large }{}, struct{ *Exported }{}, [3][]large{}, map[large]int{}} {
		s := shapeOf(reflect.TypeOf(heavy))
		if _, unexported := heavy.(struct{ *large }); unexported {
			continue
		}
		assert.NotNil(t, s, "%T", heavy)
	}
	s := shapeOf(reflect.TypeFor[nested]())
	assert.NotContains(t, s.fields, "Small", "what is small costs no look-up")
	assert.Contains(t, s.fields, "Large")
}

type Exported struct {
	N    int
	Room [100]int64
}

func TestPlainTypesAreNotInspected(t *testing.T) {
	for _, plain := range []any{small{}, []small{}, map[string][]string{}, &small{}, struct{ At *struct{ N int } }{}} {
		assert.False(t, inspects(reflect.TypeOf(plain)), "%T", plain)
	}
	type list struct{ Next *list }
	for _, other := range []any{map[string]any{}, list{}, make(chan int), struct{ F func() }{}, msgpack.RawMessage{}} {
		assert.True(t, inspects(reflect.TypeOf(other)), "%T", other)
	}
}

func FuzzMsgPackCheck(f *testing.F) {
	for _, v := range []any{nil, 1, "text", []int{1, 2}, map[string]any{"a": []byte{1}}, nested{Small: []small{{}}}} {
		body, err := msgpack.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	s := shapeOf(reflect.TypeFor[nested]())
	f.Fuzz(func(t *testing.T, body []byte) {
		finding := new(msgpackChecker).check(body, nil)
		if typed := new(msgpackChecker).check(body, s); finding != nil && typed == nil {
			t.Fatal("accepted with a type and not without")
		}
		if finding != nil {
			return
		}
		r := bytes.NewReader(body)
		if err := msgpack.NewDecoder(r).Skip(); err != nil || r.Len() > 0 {
			t.Fatalf("accepted, but the library says %v and leaves %d bytes", err, r.Len())
		}
		for at := range body {
			locate(body, at, map[string]bool{"a": true})
		}
	})
}
