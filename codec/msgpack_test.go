package codec_test

import (
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedbus/typedbus/codec"
)

// inUTC moves the times of o to UTC: MessagePack has no time zone.
func inUTC(o order) order {
	if !o.Placed.IsZero() {
		o.Placed = o.Placed.UTC()
	}
	return o
}

func TestMsgPackRoundTrip(t *testing.T) {
	c := codec.MsgPack[order]()
	body, err := c.Append(nil, sampleOrder())
	require.NoError(t, err)
	for _, declared := range []string{"", "application/msgpack", "application/x-msgpack", "Application/Vnd.MsgPack"} {
		got, err := c.Decode(declared, body)
		require.NoError(t, err)
		assert.Equal(t, sampleOrder(), inUTC(got))
	}
}

func TestMsgPackTakesNamesFromJSONTags(t *testing.T) {
	type both struct {
		Plain  int
		JSON   int `json:"j,omitempty"`
		Own    int `msgpack:"o" json:"x"`
		Hidden int `json:"-"`
	}
	body, err := codec.MsgPack[both]().Append(nil, both{Plain: 1, Own: 2, Hidden: 3})
	require.NoError(t, err)
	got, err := codec.MsgPack[map[string]int]().Decode("", body)
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"Plain": 1, "o": 2}, got)
}

func TestMsgPackWritesShortIntegers(t *testing.T) {
	body, err := codec.MsgPack[[]int64]().Append(nil, []int64{1, -1, 200})
	require.NoError(t, err)
	assert.Equal(t, []byte{0x93, 0x01, 0xff, 0xcc, 200}, body)
}

func TestMsgPackInterfaceValues(t *testing.T) {
	in := []any{1, int8(-3), uint64(math.MaxUint64), float32(0.5), "s", []byte("b"), true, nil, map[string]any{"k": 300}}
	body, err := codec.MsgPack[any]().Append(nil, in)
	require.NoError(t, err)
	got, err := codec.MsgPack[any]().Decode("", body)
	require.NoError(t, err)
	assert.Equal(t, []any{int64(1), int64(-3), uint64(math.MaxUint64), 0.5, "s", "b", true, nil,
		map[string]any{"k": uint64(300)}}, got)
}

type celsius struct{ Degrees float64 }

func (c *celsius) EncodeMsgpack(e *msgpack.Encoder) error { return e.EncodeFloat64(c.Degrees) }
func (c *celsius) DecodeMsgpack(d *msgpack.Decoder) (err error) {
	c.Degrees, err = d.DecodeFloat64()
	return err
}

func TestMsgPackCustomTypes(t *testing.T) {
	type event struct {
		Temp celsius
		Addr netip.Addr
		Raw  msgpack.RawMessage
		Wait time.Duration
		Hash [4]byte
	}
	in := event{celsius{21.5}, netip.MustParseAddr("10.0.0.1"), msgpack.RawMessage{0x92, 1, 2}, time.Minute, [4]byte{1, 2, 3, 4}}
	body, err := codec.MsgPack[event]().Append(nil, in)
	require.NoError(t, err)
	got, err := codec.MsgPack[event]().Decode("", body)
	require.NoError(t, err)
	assert.Equal(t, in, got)
}

type (
	loop     struct{ Next *loop }
	anyLoop  *any
	interned struct {
		Country string `msgpack:",intern"`
		City    string `msgpack:",intern"`
	}
	failing struct{}
)

func (failing) EncodeMsgpack(*msgpack.Encoder) error { return errCanary }
func (failing) DecodeMsgpack(*msgpack.Decoder) error { return errCanary }

func TestMsgPackEncodeErrors(t *testing.T) {
	circle := &loop{}
	circle.Next = circle
	var self any
	self = anyLoop(&self)
	list := []any{nil}
	list[0] = list
	deep := any(0)
	for range 65 {
		deep = map[string]any{"a": deep}
	}
	for name, test := range map[string]struct {
		value any
		want  string
	}{
		"channel":  {struct{ C chan int }{}, "codec: encode interface {} as application/msgpack: chan int has no form in MessagePack"},
		"func":     {[]func(){nil}, "func() has no form"},
		"complex":  {map[string]complex64{"a": 1}, "complex64 has no form"},
		"uintptr":  {map[uintptr]int{1: 1}, "uintptr has no form"},
		"circle":   {circle, "nested deeper than 64 levels"},
		"pointers": {self, "contains itself"},
		"list":     {list, "nested deeper than 64 levels"},
		"deep":     {deep, "nested deeper than 64 levels"},
		"raw":      {msgpack.RawMessage{0x93, 1}, "consumers would refuse the encoding: announces more than the bytes"},
		"interned": {interned{"Peru", "Peru"}, "consumers would refuse the encoding: interned strings"},
		"method":   {[]failing{{}}, "refused by the msgpack library or a method of the value (codec_test.leak)"},
		"in map":   {map[string]celsius{canary: {}}, "refused by the msgpack library or a method of the value"},
	} {
		t.Run(name, func(t *testing.T) {
			dst := []byte("kept")
			out, err := codec.MsgPack[any]().Append(dst, test.value)
			assert.Equal(t, dst, out)
			assert.ErrorContains(t, err, test.want)
			assertNoCanary(t, err)
		})
	}
	_, err := codec.MsgPack[failing]().Append(nil, failing{})
	assert.ErrorIs(t, err, errCanary)
}

func TestMsgPackEncodesSixtyFourLevels(t *testing.T) {
	deep := any(int64(0))
	for range 64 {
		deep = []any{deep}
	}
	body, err := codec.MsgPack[any]().Append(nil, deep)
	require.NoError(t, err)
	got, err := codec.MsgPack[any]().Decode("", body)
	require.NoError(t, err)
	assert.Equal(t, deep, got)
}

func pack(t *testing.T, v any) []byte {
	t.Helper()
	body, err := msgpack.Marshal(v)
	require.NoError(t, err)
	return body
}

func TestMsgPackDecodeErrors(t *testing.T) {
	type m = map[string]any
	for name, test := range map[string]struct {
		body []byte
		want string
	}{
		"empty":     {nil, "codec: decode application/msgpack into codec_test.order: the body ends too early"},
		"trailing":  {[]byte("\x80" + canary), "bytes follow the value (after 1 bytes)"},
		"truncated": {[]byte("\x81\xadkanarienvog!"), "announces more than the bytes that are there"},
		"unused":    {[]byte{0x91, 0xc1}, "the body ends too early, or has a byte that MessagePack does not use (after 1 bytes)"},
		"kind":      {pack(t, m{"cents": canary}), "field cents: a MessagePack string does not fit (*errors.errorString) (after 7 bytes)"},
		"below":     {pack(t, m{"lines": []m{{}, {"count": canary}}}), "field lines.count: a MessagePack string does not fit"},
		"map key":   {pack(t, m{"notes": m{canary: 4711}}), "field notes: a MessagePack integer does not fit"},
		"unknown":   {pack(t, m{canary: m{"id": 1}, "cents": []int{}}), "field cents: a MessagePack array does not fit"},
		"time":      {pack(t, m{"placed": canary}), "field placed: a MessagePack string does not fit"},
		"nil time":  {pack(t, m{"placed": nil}), "field placed: a MessagePack nil does not fit (codec.panicError)"},
		"fields":    {pack(t, []int{1, 2, 4711}), "a MessagePack array does not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := codec.MsgPack[order]().Decode("", test.body)
			var facts *codec.DecodeError
			require.ErrorAs(t, err, &facts)
			assert.ErrorContains(t, err, test.want)
			assertNoCanary(t, err)
		})
	}
	_, err := codec.MsgPack[failing]().Decode("", []byte{0xc3})
	assert.ErrorIs(t, err, errCanary)
	assertNoCanary(t, err)
}

// A failed decode must leave nothing behind for the next user of the pool.
func TestMsgPackDecodesAfterErrors(t *testing.T) {
	c := codec.MsgPack[order]()
	body, err := c.Append(nil, sampleOrder())
	require.NoError(t, err)
	for range 100 {
		_, err = c.Decode("", []byte{0x81, 0xa5, 'c', 'e', 'n', 't', 's', 0xa1, 'x'})
		require.Error(t, err)
		got, err := c.Decode("", body)
		require.NoError(t, err)
		require.Equal(t, sampleOrder(), inUTC(got))
	}
}

type meddling struct{}

func (meddling) EncodeMsgpack(e *msgpack.Encoder) error {
	e.UseArrayEncodedStructs(true)
	e.SetCustomStructTag("other")
	return e.EncodeBool(true)
}

func (*meddling) DecodeMsgpack(d *msgpack.Decoder) error {
	d.DisallowUnknownFields(true)
	_, err := d.DecodeBool()
	return err
}

func TestMsgPackForgetsWhatMethodsSet(t *testing.T) {
	for range 10 {
		body, err := codec.MsgPack[meddling]().Append(nil, meddling{})
		require.NoError(t, err)
		_, err = codec.MsgPack[[]meddling]().Decode("", []byte{0x91, body[0]})
		require.NoError(t, err)
		body, err = codec.MsgPack[line]().Append(nil, line{"tea", 2})
		require.NoError(t, err)
		require.Equal(t, "\x82\xa3sku\xa3tea\xa5count\x02", string(body))
		_, err = codec.MsgPack[line]().Decode("", []byte("\x81\xa1x\x02"))
		require.NoError(t, err)
	}
}

// The library reads the payload of an extension as a map header where it wants a map, and no length in it was checked.
func TestMsgPackExtensionIsNoMap(t *testing.T) {
	timestamp := []byte{0xd7, 0xff, 0xdf, 0xff, 0xff, 0xff, 0xff, 0, 0, 0}
	for name, decode := range map[string]func([]byte) error{
		"any map":    func(b []byte) error { _, err := codec.MsgPack[map[string]any]().Decode("", b); return err },
		"string map": func(b []byte) error { _, err := codec.MsgPack[map[string]string]().Decode("", b); return err },
		"typed map":  func(b []byte) error { _, err := codec.MsgPack[map[int]int64]().Decode("", b); return err },
	} {
		t.Run(name, func(t *testing.T) {
			took := allocates(func() { assert.Error(t, decode(timestamp)) })
			assert.Less(t, took, uint64(1<<20))
		})
	}
	got, err := codec.MsgPack[any]().Decode("", []byte{0xd6, 0xff, 0xdf, 0xff, 0xff, 0xff})
	require.NoError(t, err, "as a timestamp it is sound")
	assert.Equal(t, time.Unix(0xdfffffff, 0), got)
}

func TestMsgPackStartsNoGoroutines(t *testing.T) {
	type fresh struct{ A, B *struct{ C *int } }
	before := runtime.NumGoroutine()
	one := 1
	body, err := codec.MsgPack[fresh]().Append(nil, fresh{A: &struct{ C *int }{&one}})
	require.NoError(t, err)
	_, err = codec.MsgPack[fresh]().Decode("", body)
	require.NoError(t, err)
	assert.LessOrEqual(t, runtime.NumGoroutine(), before)
}

func TestMsgPackTypeAndJSONAgree(t *testing.T) {
	in := sampleOrder()
	body, err := codec.MsgPack[order]().Append(nil, in)
	require.NoError(t, err)
	loose, err := codec.MsgPack[map[string]any]().Decode("", body)
	require.NoError(t, err)
	text, err := json.Marshal(in)
	require.NoError(t, err)
	var fromJSON map[string]any
	require.NoError(t, json.Unmarshal(text, &fromJSON))
	for name := range fromJSON {
		assert.Contains(t, loose, name)
	}
}

// What follows is about memory: elements that take one byte in a body and many in Go.

type kibibyte struct {
	Name string
	Body [126]int64
}

func TestMsgPackTakesMemoryInProportion(t *testing.T) {
	const n = 200_000
	ones, nils, empties := strings.Repeat("\x01", n), strings.Repeat("\xc0", n), strings.Repeat("\x80", n)
	array := "\xdd\x00\x03\x0d\x40" // of n
	pairs := "\xdf\x00\x01\x86\xa0" // of n/2
	named := "\x81\xa4List" + array
	for name, decode := range map[string]func(string) error{
		"any":       decodeTo[any],
		"ints":      decodeTo[[]int64],
		"strings":   decodeTo[[]string],
		"list":      decodeTo[[]kibibyte],
		"pointers":  decodeTo[[]*kibibyte],
		"map":       decodeTo[map[int]kibibyte],
		"arrays":    decodeTo[[][200]int64],
		"field":     decodeTo[struct{ List []kibibyte }],
		"embedded":  decodeTo[struct{ withList }],
		"pointer":   decodeTo[*[]*[]kibibyte],
		"map of":    decodeTo[map[string][]kibibyte],
		"lifted":    decodeTo[[]struct{ *Lifted }],
		"recursive": decodeTo[tree],
	} {
		t.Run(name, func(t *testing.T) {
			for _, body := range []string{
				array + ones, array + nils, array + empties, pairs + ones, pairs + nils,
				named + ones, named + nils, named + empties, "\x91" + array + empties, "\x91\x91" + array + ones,
				array + strings.Repeat("\x81\xa1A\xc0", n),
				array + strings.Repeat("\x81\xa0\x81\xa0\xc0", n),
			} {
				took := allocates(func() { _ = decode(body) })
				assert.LessOrEqual(t, took, uint64(8<<20+512*len(body)), "%.20x", body)
			}
		})
	}
}

type withList struct{ List []kibibyte }

type Lifted struct {
	A *int
	B [1000]int64
}

type tree struct {
	Room [100]int64
	List []tree
	Map  map[string]*tree
}

func decodeTo[T any](body string) error {
	_, err := codec.MsgPack[T]().Decode("", []byte(body))
	return err
}

func TestMsgPackRefusesAmplification(t *testing.T) {
	body := "\xdd\x00\x01\x00\x00" + strings.Repeat("\x80", 1<<16) // 64 Ki empty structs of 1 KiB
	err := decodeTo[[]kibibyte](body)
	assert.ErrorContains(t, err, "the value would take too much memory")
	require.NoError(t, decodeTo[[]struct{ A, B, C, D int }](body), "small structs are in proportion")
	require.NoError(t, decodeTo[[]kibibyte]("\xdc\x04\x00"+strings.Repeat("\x80", 1<<10)), "and so are few large ones")
	require.NoError(t, decodeTo[struct{ Other []int }]("\x81\xa5Other"+body[:5]+strings.Repeat("\x01", 1<<16)))
}

func TestMsgPackAcceptsLargeHonestValues(t *testing.T) {
	in := make([]kibibyte, 5000)
	for i := range in {
		in[i].Name = "name"
	}
	body, err := codec.MsgPack[[]kibibyte]().Append(nil, in)
	require.NoError(t, err)
	got, err := codec.MsgPack[[]kibibyte]().Decode("", body)
	require.NoError(t, err)
	assert.Equal(t, in, got)
}

func TestMsgPackWillNotWriteWhatItWillNotRead(t *testing.T) {
	type sparse struct {
		A [200]int64 `json:"-"`
		B string     `json:",omitempty"`
	}
	_, err := codec.MsgPack[[]sparse]().Append(nil, make([]sparse, 100_000))
	var facts *codec.EncodeError
	require.True(t, errors.As(err, &facts))
	assert.Contains(t, facts.Reason, "consumers would refuse the encoding: the value would take too much memory")
}
