package codec_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/codec"
)

// What JSON writes and reads is what encoding/json does, whether that does the work or not.

type odd struct {
	A string          `json:"a"`
	B *int64          `json:"b,omitempty"`
	C []string        `json:"c"`
	D map[string]*odd `json:"d"`
	E time.Time       `json:"e,omitzero"`
	F time.Duration   `json:"f"`
	G []byte          `json:"g"`
	H [3]byte         `json:"h"`
	I map[int]float64 `json:"i,omitempty"`
	J json.RawMessage `json:"j,omitempty"`
	K uuid.UUID       `json:"k"`
	L *big.Int        `json:"l"`
	M map[netip.Addr]bool
	N float32
	O struct{ P, Q bool }
	R any `json:"-"`
	Embedded
	*Pointed
	S [2]int
	T []*bool
	U map[string][]byte `json:"u,omitempty"`
}

type Embedded struct {
	A string `json:"a"` // hidden by the outer one
	V uint8  `json:"v"`
}

type Pointed struct {
	W string
	X []Embedded `json:"x"`
}

// simple is plain: encoding/json is not asked.
type simple struct {
	A string              `json:"a"`
	B *int64              `json:"b,omitempty"`
	C []string            `json:"c"`
	D map[string]*simple  `json:"d"`
	E time.Time           `json:"e,omitzero"`
	F time.Duration       `json:"f"`
	G []byte              `json:"g"`
	H [3]byte             `json:"h"`
	M map[string][]string `json:"-"`
	N float32
	O struct{ P, Q bool }
	S [2]int
	T []*bool
	U map[string][]byte `json:"u,omitempty"`
	V uint8             `json:"v"`
	W float64           `json:"w_x-y,omitempty"`
	X []simple          `json:"x"`
	Y *time.Time
}

type numbered struct {
	N json.Number    `json:"n"`
	A any            `json:"a"`
	S int            `json:"s,string"`
	I Embedded       `json:"inner,inline"`
	M map[string]any `json:"m"`
}

// stdJSON is what the codec says it does.
func stdJSON(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	require.NoError(t, enc.Encode(v))
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func sameJSON[T any](t *testing.T, body []byte) {
	t.Helper()
	c := codec.JSON[T]()
	var want T
	wantErr := json.Unmarshal(body, &want)
	got, err := c.Decode("application/json", body)
	if wantErr != nil {
		require.Error(t, err, "%T from %q: encoding/json says %v", want, body, wantErr)
		return
	}
	require.NoError(t, err, "%T from %q", want, body)
	require.Equal(t, want, got, "%T from %q", want, body)
	out, err := c.Append(nil, got)
	require.NoError(t, err)
	require.Equal(t, string(stdJSON(t, &want)), string(out))
}

func sameForAll(t *testing.T, body []byte) {
	t.Helper()
	sameJSON[odd](t, body)
	sameJSON[simple](t, body)
	sameJSON[[]simple](t, body)
	sameJSON[map[string]int16](t, body)
	sameJSON[[]uint8](t, body)
	sameJSON[[]time.Time](t, body)
	sameJSON[*[2]bool](t, body)
	sameJSON[*odd](t, body)
	sameJSON[[]odd](t, body)
	sameJSON[numbered](t, body)
	sameJSON[any](t, body)
	sameJSON[map[string]string](t, body)
	sameJSON[[]float64](t, body)
	sameJSON[string](t, body)
	sameJSON[json.RawMessage](t, body)
	sameJSON[Order](t, body)
}

var oddBodies = []string{
	`{}`, `null`, `[]`, `""`, `0`, `true`, ` { "a" : "x" } `, `{"a":"x","A":"y"}`, `{"A":"y"}`, `{"a":1}`, `{"a":null,"b":null,"c":null,"d":null}`,
	`{"a":"\u00e9\ud83d\ude00\ud800","b":9223372036854775807,"c":["<b>&","\u2028"],"d":{"x":{"a":"z"},"y":null}}`,
	`{"b":9223372036854775808}`, `{"b":1.0}`, `{"b":1e3}`, `{"b":-0}`, `{"N":1e40}`, `{"N":1e-50}`, `{"i":{"1":2,"-3":4.5e10}}`, `{"i":{"x":1}}`,
	`{"e":"2026-01-02T03:04:05.000000006+07:00","f":1000}`, `{"e":"2026-01-02T03:04:05Z","f":"1s"}`, `{"e":"2026-1-02T3:04:05Z"}`, `{"e":"2026-01-02T03:04:05,5Z"}`,
	`{"g":"aGVsbG8=","h":[1,2,3]}`, `{"g":"aGVs\nbG8="}`, `{"g":[1,2]}`, `{"h":[1]}`, `{"h":[1,2,3,4]}`, `{"h":"AQID"}`, `{"g":"!!!"}`, `{"S":[1]}`, `{"S":[1,2,3]}`, `{"S":null}`,
	`{"j":{"deep":[1,2,{"x":null}]},"k":"0191e4f2-1111-7000-8000-000000000001","l":123456789012345678901234567890}`, `{"k":"x"}`, `{"l":"1"}`, `{"l":1.5}`,
	`{"M":{"127.0.0.1":true,"::1":false}}`, `{"M":{"x":true}}`, `{"O":{"P":true,"q":true}}`, `{"inner":1,"R":1,"-":2}`, `{"v":255,"W":"w","x":[{"a":"1","v":2}]}`, `{"v":256}`,
	`{"d":{"a":{},"a":{"a":"second"}},"c":["1"],"c":["2"]}`, `{"i":{"1":1},"i":{"2":2}}`, `{"O":{"P":true},"O":{"Q":true}}`, `{"T":[true,null,false]}`, `{"u":{"a":"AQ==","b":null}}`,
	`{"n":12,"a":{"x":[1,"2",null]},"s":"5","inner":{"v":1},"m":{"k":1e400}}`, `{"n":"12","s":5}`, `{"n":"x"}`, `{"s":"x"}`, `{"m":{"k":18446744073709551616}}`,
	`{"a":"x"`, `{"a":"x"}}`, `{"a":"x"} {}`, `{"a":"x",}`, `{'a':1}`, `{"a":"\x01"}`, `{"a":"\q"}`, "{\"a\":\"\xff\"}", "{\"\xff\":1}", "\ufeff{}", `[1,2.5,1e309]`, `["a"]`, `01`, `-`, `1.`, `nul`, `tru`, `"\ud800"`, `{"a":"tab	"}`,
}

func TestJSONIsLikeTheStandardLibrary(t *testing.T) {
	for _, body := range oddBodies {
		sameForAll(t, []byte(body))
	}
	sameForAll(t, []byte(strings.Repeat("[", 10_001)+strings.Repeat("]", 10_001)))
	sameForAll(t, []byte(`{"d":`+strings.Repeat(`{"x":{"d":`, 4000)+"{}"+strings.Repeat("}}", 4000)+"}"))
}

func FuzzJSONLikeTheStandardLibrary(f *testing.F) {
	for _, body := range oddBodies {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) { sameForAll(t, body) })
}

func TestJSONEncodesLikeTheStandardLibrary(t *testing.T) {
	n := int64(-5)
	for _, v := range []odd{
		{},
		{A: "<&>\u2028\xff\x00", B: &n, C: []string{}, D: map[string]*odd{"b": nil, "a": {}}, E: time.Now(), F: time.Second, G: []byte{}, M: map[netip.Addr]bool{netip.MustParseAddr("::1"): true}},
		{N: 1e21, I: map[int]float64{2: 1e-7, -1: 1e20, 3: 100, 1: 0.1}, J: json.RawMessage(` { "x" : 1 } `), L: big.NewInt(7), Pointed: &Pointed{W: "w", X: []Embedded{{V: 1}}}, U: map[string][]byte{"n": nil}},
	} {
		out, err := codec.JSON[odd]().Append([]byte("before"), v)
		require.NoError(t, err)
		assert.Equal(t, "before"+string(stdJSON(t, v)), string(out))
	}
	out, err := codec.JSON[numbered]().Append(nil, numbered{N: "12.50", A: json.Number("3"), M: map[string]any{"x": json.Number("4")}})
	require.NoError(t, err)
	assert.Equal(t, `{"n":12.50,"a":3,"s":"0","inner":{"a":"","v":0},"m":{"x":4}}`, string(out))
}

// The usual is not left to encoding/json, which needs twice as many allocations: one for each string, the list and the value.
func TestJSONOfPlainTypesTakesFewAllocations(t *testing.T) {
	c := codec.JSON[small]()
	body, err := c.Append(nil, sampleSmall)
	require.NoError(t, err)
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = c.Decode("", body) }), 7.0)
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = c.Append(nil, sampleSmall) }), 2.0, "one, but the pool may lose something")
	dst := make([]byte, 0, 1<<10)
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = c.Append(dst, sampleSmall) }), 1.0)
}

// Calls of Append share a pool: their results must not.
func TestJSONAppendsConcurrently(t *testing.T) {
	c := codec.JSON[map[string]string]()
	var all sync.WaitGroup
	for i := range 8 {
		v := map[string]string{"n": strings.Repeat(strconv.Itoa(i), 1<<i), "bad": strings.Repeat("\xff", i%2)}
		want := string(stdJSON(t, v))
		all.Go(func() {
			for range 200 {
				one, err := c.Append(nil, v)
				two, err2 := c.Append([]byte("before"), v)
				if err != nil || err2 != nil || string(one) != want || string(two) != "before"+want {
					t.Errorf("got %q and %q, want %q", one, two, want)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestJSONAppendsLargeValues(t *testing.T) {
	c := codec.JSON[[]string]()
	v := []string{strings.Repeat("x", 100<<10)}
	for range 2 {
		out, err := c.Append(nil, v)
		require.NoError(t, err)
		assert.Equal(t, string(stdJSON(t, v)), string(out))
	}
}
