package plainjson_test

import (
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/codec/internal/plainjson"
)

type sample struct {
	typ  reflect.Type
	body string
}

func of[T any](bodies ...string) (s []sample) {
	for _, b := range bodies {
		s = append(s, sample{reflect.TypeFor[T](), b})
	}
	return s
}

func join(all ...[]sample) (s []sample) {
	for _, a := range all {
		s = append(s, a...)
	}
	return s
}

const usual = `{"id":"order-1","customer":"c-1","cents":995,"placed":"2026-09-21T13:33:20.042Z","items":["pencil","paper"],"express":true}`

// taken is what has to be fast.
var taken = join(
	of[order](usual, `{}`, ` { "express" : false , "id" : "x" } `, "\t{\r\n\"id\"\n:\"x\"}", `null`,
		`{"unknown":[1,-2.5e+7,{"a":[true,false,null],"b":{}},"\u00e9",[]],"id":"x"}`,
		`{"id":"a\"\\\/\b\f\n\r\t\u00e9\u20AC\ud83d\ude00z","customer":"žluťoučký 😀","state":"new"}`,
		`{"\u0069d":"x"}`, `{"id":"x","id":"y"}`, `{"id":"x","id":null}`,
		`{"notes":{"a":"b","c":null,"a":"d"},"lines":[{"SKU":"x","count":65535},{}],"parent":{"id":"y","parent":{"id":"z"}}}`,
		`{"notes":null,"lines":null,"parent":null,"cents":null,"placed":null,"express":null,"weight":null,"state":null}`,
		`{"notes":{},"lines":[],"items":[],"parent":{}}`, `{"parent":{"id":"a"},"parent":{"customer":"b"}}`, `{"parent":{},"parent":null}`,
		`{"placed":"2026-01-02T03:04:05+07:00","weight":-0.5e-3}`, `{"placed":"2026-01-02T3:04:05Z"}`, `{"items":["a",null,"1","2","3","4","5","6","7","8","9"]}`),
	of[numbers](`{"a":-128,"b":255,"c":9223372036854775807,"d":18446744073709551615,"e":1e-40,"f":1e300,"g":[1,null,3],"h":[1,2,3],"i":"AQID","j":[1],"k":true}`,
		`{"a":-0,"c":-9223372036854775808,"f":0,"h":[],"i":"","j":null}`, `{"h":[1,2],"h":[3]}`, `{"i":"AQ\n==","i":null}`),
	of[nested](`{"name":"a","tags":["x"],"kids":[{"name":"b"},{"kids":[]}],"by_key":{"k":{"name":"c"},"n":null},"state":{"new":1},"lists":{"a":["b"],"c":null}}`,
		`{"times":["2026-01-02T03:04:05Z",null],"wait":5,"Out":"x","Pair":[{"X":1},{"Y":2}]}`),
	of[[]string](`["a"]`, `[ ]`, `[null]`), of[string](`"x"`, `""`, `"\u0000"`), of[int64](`-5`, `0`), of[bool](` true`, `false`), of[time.Time](`"2026-01-02T03:04:05Z"`),
	of[[][]int](strings.Repeat("[", 2)+strings.Repeat("]", 2)), of[map[status]time.Time](`{"a":"2026-01-02T03:04:05.5-07:30"}`),
)

// refused is what encoding/json has to look at.
var refused = join(
	of[order](``, ` `, `{`, `{}}`, `{} x`, `[]`, `"x"`, `{"ID":"x"}`, `{"\u017Fku":1,"iD":"x"}`, `{"id":1}`, `{"id":"`, `{"id":"x}`, `{"id":x}`, `{"id" "x"}`, `{"id":"x",}`, `{,}`, `{id:1}`,
		`{"id":"\q"}`, `{"id":"\u12"}`, `{"id":"\u12G4"}`, `{"id":"\ud800"}`, `{"id":"\ud800\u0041"}`, `{"id":"\udc00"}`, `{"id":"\`, "{\"id\":\"\x01\"}", "{\"id\":\"\x1f\"}", "{\"id\":\"\\n\x01\"}", "{\"id\":\"é\n\"}",
		"{\"id\":\"\xff\"}", "{\"id\":\"\\n\xff\"}", "{\"\xff\":1}", `{"x":01}`, `{"x":1.}`, `{"x":.5}`, `{"x":-}`, `{"x":1e}`, `{"x":+1}`, `{"x":nul}`, `{"x":truE}`, `{"x":[1,]}`, `{"x":[1 2]}`, `{"x":[}`, `{"x":{1:2}}`,
		`{"items":["a"],"items":["b"]}`, `{"lines":[{}],"lines":[]}`, `{"items":"a"}`, `{"items":[1]}`, `{"items":{}}`, `{"express":"true"}`, `{"express":1}`,
		`{"placed":5}`, `{"placed":"x"}`, `{"placed":"\u0032026-01-02T03:04:05Z"}`, `{"placed":"2026-13-02T03:04:05Z"}`, `{"placed":"`, `{"cents":1.0}`, `{"cents":1e3}`, `{"cents":"1"}`, `{"cents":9223372036854775808}`,
		`{"weight":1e400}`, `{"weight":"1"}`, `{"lines":[{"count":65536}]}`, `{"lines":[{"count":-1}]}`, `{"lines":{}}`, `{"notes":[]}`, `{"notes":{"a":1}}`, `{"notes":"x"}`, `{"parent":[]}`, `{"cents":01}`, "\ufeff{}", "{\x00}"),
	of[numbers](`{"a":128}`, `{"a":-129}`, `{"b":256}`, `{"b":-0}`, `{"d":18446744073709551616}`, `{"e":1e39}`, `{"i":"!"}`, `{"i":[1]}`, `{"i":5}`, `{"h":"x"}`, `{"h":{}}`),
	of[nested](`{"state":[]}`, `{"by_key":{"a":1}}`, `{"Pair":[{"x":1}]}`), of[bool](`tru`, `truefalse`), of[string](`"a" "b"`, `'a'`),
	of[nested](strings.Repeat(`{"kids":[`, 51)+strings.Repeat(`]}`, 51)), of[order](`{"x":`+strings.Repeat("[", 101)+strings.Repeat("]", 101)+`}`),
)

func TestTheUsualIsTaken(t *testing.T) {
	for _, c := range taken {
		assert.True(t, readsLike(t, c.typ, []byte(c.body)), "%v: %s", c.typ, c.body)
		for _, typ := range zoo {
			readsLike(t, typ, []byte(c.body))
		}
	}
}

func TestTheUnusualIsRefused(t *testing.T) {
	for _, c := range refused {
		assert.False(t, readsLike(t, c.typ, []byte(c.body)), "%v: %s", c.typ, c.body)
		for _, typ := range zoo {
			readsLike(t, typ, []byte(c.body))
		}
	}
}

// Every beginning of a body, and every body with one byte changed, is refused or read as encoding/json does.
func TestBodiesWithAChangedByte(t *testing.T) {
	for _, c := range taken {
		for i := range c.body {
			readsLike(t, c.typ, []byte(c.body[:i]))
			for _, b := range "\"\\{}[],: 0-.eu\x00\x1f\x80\xff" {
				readsLike(t, c.typ, []byte(c.body[:i]+string([]byte{byte(b)})+c.body[i+1:]))
			}
		}
	}
}

func TestAllCharacters(t *testing.T) {
	for c := range rune(0x3000) {
		s := "0123456" + string(c) + "-"
		assert.True(t, writesLike(t, reflect.ValueOf(&s).Elem()))
		readsLike(t, reflect.TypeFor[string](), []byte(`"`+s+`"`))
		for i := range byte(9) { // bytes at all places of a word of eight
			raw := "\"abcdefgh"[:i+1] + string([]byte{byte(c)}) + "abcdefgh\""
			readsLike(t, reflect.TypeFor[string](), []byte(raw))
		}
	}
}

func TestWrites(t *testing.T) {
	yes := []any{
		&order{}, &order{Items: []string{}, Lines: []line{}, Notes: map[string]string{}}, &numbers{}, &nested{}, &map[string]string{"b": "1", "a": "2", "c": ""},
		&[]float64{0, math.Copysign(0, -1), 1, 1e20, 1e21, 1e-6, 1e-7, 9.99e-7, 1e-10, 1.5e300, 1e-300, math.MaxFloat64}, &[]float32{0, 1e21, 1e20, 1e-6, 1e-7, 3.4e38, 1e-45, 0.1},
		&nested{Kids: []nested{}}, &nested{Until: time.Time{}.In(time.FixedZone("", 60))}, &nested{Until: time.Unix(1, 5).UTC()}, &order{Placed: time.Date(9999, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600))},
		&map[string]nested{"b": {}, "a": {Name: "x"}}, &[]*int{nil, new(int)}, &[][]byte{nil, {}, {1}},
	}
	for _, v := range yes {
		assert.True(t, writesLike(t, reflect.ValueOf(v).Elem()), "%v", v)
	}
	ring := &order{}
	ring.Parent = ring
	web := &nested{}
	web.ByKey = map[string]*nested{"a": web, "b": web}
	no := []any{
		ring, web, &order{ID: "\xff"}, &order{Notes: map[string]string{"\xc3(": ""}}, &order{Notes: map[string]string{"": "\xff"}}, &order{Weight: math.NaN()}, &order{Weight: math.Inf(-1)},
		&order{Placed: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, &order{Placed: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}, &order{Placed: time.Now().In(time.FixedZone("", 24*3600))},
	}
	for _, v := range no {
		assert.False(t, writesLike(t, reflect.ValueOf(v).Elem()), "%T", v)
	}
}

type Base struct{ Name string }

type base struct{ Name string }

type zeroer int

func (zeroer) IsZero() bool { return true }

type texter struct{}

func (*texter) UnmarshalText([]byte) error { return nil }

type appender string

func (appender) AppendText(b []byte) ([]byte, error) { return b, nil }

type newer struct{}

func (*newer) UnmarshalJSONFrom() {}

type writer string

func (*writer) MarshalJSON() ([]byte, error) { return nil, nil }

type talks int

func (talks) String() string { return "" }

func TestWhichTypesArePlain(t *testing.T) {
	for _, v := range []any{talks(1), struct{ Z talks }{}, struct{ quiet any }{}, struct {
		A     any `json:"-"`
		*Base `json:"-"`
	}{}} {
		_, plain := plainjson.Compile(reflect.TypeOf(v))
		assert.True(t, plain, "%T", v)
	}
	for _, v := range []any{
		[]any{}, map[int]int{}, func() {}, make(chan int), complex(1, 1), uintptr(1), json.Number(""), json.RawMessage{}, big.Int{}, &big.Int{}, texter{}, newer{}, appender(""), writer(""), []writer{},
		map[appender]int{}, struct{ Base }{}, struct{ *Base }{}, struct{ base }{}, struct{ time.Time }{}, struct{ A, a2 any }{},
		struct{ Name, NAME int }{}, struct {
			A int
			B int `json:"a"`
		}{}, struct {
			A int `json:",string"`
		}{}, struct {
			A int `json:"ä"`
		}{}, struct {
			A int `json:"a b"`
		}{}, struct{ Ä int }{}, struct {
			A int `json:"a,inline"`
		}{}, struct {
			A zeroer `json:"a,omitzero"`
		}{}, struct {
			A *time.Time `json:"a,omitzero"`
		}{},
	} {
		_, plain := plainjson.Compile(reflect.TypeOf(v))
		assert.False(t, plain, "%T", v)
	}
}
