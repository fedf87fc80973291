package codec_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/codec"
)

type order struct {
	ID     string            `json:"id"`
	Cents  int64             `json:"cents"`
	Paid   bool              `json:"paid"`
	Weight float64           `json:"weight"`
	Placed time.Time         `json:"placed"`
	Lines  []line            `json:"lines,omitempty"`
	Notes  map[string]string `json:"notes,omitempty"`
	Parent *order            `json:"parent,omitempty"`
}

type line struct {
	SKU   string `json:"sku"`
	Count int    `json:"count"`
}

func sampleOrder() order {
	return order{
		ID: "42", Cents: 995, Paid: true, Weight: 0.25, Placed: time.Date(2025, 11, 23, 10, 0, 0, 5, time.UTC),
		Lines:  []line{{"tea", 2}, {"milk", 1}},
		Notes:  map[string]string{"gift": "yes <b>&</b>"},
		Parent: &order{ID: "41"},
	}
}

func TestJSONWritesNoNewlineAndNoEscapes(t *testing.T) {
	out, err := codec.JSON[map[string]string]().Append([]byte("> "), map[string]string{"a": "<&>"})
	require.NoError(t, err)
	assert.Equal(t, `> {"a":"<&>"}`, string(out))
}

type pointerMarshaler struct{ n int }

func (p *pointerMarshaler) MarshalJSON() ([]byte, error) { return []byte(`"custom"`), nil }

func TestJSONFindsMethodsWithPointerReceiver(t *testing.T) {
	out, err := codec.JSON[pointerMarshaler]().Append(nil, pointerMarshaler{1})
	require.NoError(t, err)
	assert.Equal(t, `"custom"`, string(out))
}

type refusing struct{}

func (refusing) MarshalJSON() ([]byte, error) { return nil, errCanary }

type ring struct{ Next *ring }

func TestJSONEncodeErrors(t *testing.T) {
	circle := &ring{}
	circle.Next = circle
	for name, test := range map[string]struct {
		value any
		want  string
	}{
		"NaN":     {math.NaN(), "codec: encode interface {} as application/json: NaN and infinities have no form in JSON"},
		"inf":     {[]float32{float32(math.Inf(1))}, "NaN and infinities"},
		"channel": {map[string]any{"c": make(chan int)}, "chan int has no form in JSON"},
		"func":    {func() {}, "func() has no form in JSON"},
		"circle":  {circle, "a *codec_test.ring contains itself"},
		"number":  {json.Number(canary), "refused by encoding/json (*errors.errorString)"},
		"method":  {refusing{}, "a Marshal method of codec_test.refusing failed (codec_test.leak)"},
	} {
		t.Run(name, func(t *testing.T) {
			dst := []byte("kept")
			out, err := codec.JSON[any]().Append(dst, test.value)
			assert.Equal(t, dst, out, "with an error dst comes back as it was")
			var facts *codec.EncodeError
			require.ErrorAs(t, err, &facts)
			assert.Equal(t, "application/json", facts.ContentType)
			assert.ErrorContains(t, err, test.want)
			assertNoCanary(t, err)
		})
	}
}

func TestJSONDecodeErrors(t *testing.T) {
	for name, test := range map[string]struct{ body, want string }{
		"empty":     {"", "codec: decode application/json into codec_test.order: the body is empty"},
		"syntax":    {`{"id":` + canary, "the 18 bytes are not one JSON value (after 7 bytes)"},
		"truncated": {`{"id":"` + canary, "the 19 bytes are not one JSON value (after 19 bytes)"},
		"trailing":  {`{} ` + canary, "are not one JSON value (after 4 bytes)"},
		"kind":      {`{"id":4711}`, "field id: a JSON number does not fit into string (after 10 bytes)"},
		"overflow":  {`{"cents":47114711471147114711}`, "field cents: a JSON number does not fit into int64"},
		"below":     {`{"lines":[{"count":"` + canary + `"}]}`, "field lines.count: a JSON string does not fit into int"},
		"map key":   {`{"notes":{"` + canary + `":true}}`, "field notes: a JSON bool does not fit into string"},
		"time":      {`{"placed":"` + canary + `"}`, "an Unmarshal method or a \",string\" tag refused its part (*time.ParseError)"},
		"whole":     {`"` + canary + `"`, "into codec_test.order: a JSON string does not fit into codec_test.order"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := codec.JSON[order]().Decode("", []byte(test.body))
			var facts *codec.DecodeError
			require.ErrorAs(t, err, &facts)
			assert.ErrorContains(t, err, test.want)
			assertNoCanary(t, err)
		})
	}
}

// An Unmarshal method may return the errors of encoding/json with anything in them.
type forging struct{}

func (*forging) UnmarshalJSON([]byte) error {
	return &json.UnmarshalTypeError{Value: canary, Field: canary, Type: nil}
}

type tagged struct {
	N int `json:",string"`
}

type quoting struct{}

func (*quoting) UnmarshalJSON(b []byte) error { return errors.Join(errCanary, errors.New(string(b))) }

func TestJSONErrorsOfMethodsShowNothing(t *testing.T) {
	decode := map[string]func([]byte) error{
		"forged":  func(b []byte) error { _, err := codec.JSON[forging]().Decode("", b); return err },
		"quoted":  func(b []byte) error { _, err := codec.JSON[[]quoting]().Decode("", b); return err },
		"tag":     func(b []byte) error { _, err := codec.JSON[tagged]().Decode("", b); return err },
		"base64":  func(b []byte) error { _, err := codec.JSON[[]byte]().Decode("", b); return err },
		"pointer": func(b []byte) error { _, err := codec.JSON[**time.Time]().Decode("", b); return err },
	}
	bodies := []string{`"` + canary + `"`, `["` + canary + `"]`, `{"N":"` + canary + `"}`, `"!` + canary + `"`}
	for name, f := range decode {
		for _, body := range bodies {
			err := f([]byte(body))
			require.Error(t, err, name)
			assertNoCanary(t, err)
		}
	}
}

func TestJSONErrorsAreFoundInCause(t *testing.T) {
	_, err := codec.JSON[[]quoting]().Decode("", []byte(`["x"]`))
	assert.ErrorIs(t, err, errCanary)
	_, err = codec.JSON[order]().Decode("", []byte(`{"placed":"x"}`))
	var parse *time.ParseError
	assert.ErrorAs(t, err, &parse)
	_, err = codec.JSON[refusing]().Append(nil, refusing{})
	assert.ErrorIs(t, err, errCanary)
	var marshal *json.MarshalerError
	assert.ErrorAs(t, err, &marshal)
}

type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error)    { panic("bug in Marshal") }
func (*panicking) UnmarshalJSON(b []byte) error   { panic("bug in Unmarshal") }
func (panicking) MarshalMsgpack() ([]byte, error) { panic("bug in Marshal") }
func (*panicking) UnmarshalMsgpack([]byte) error  { panic("bug in Unmarshal") }

func TestPanicsOfMethodsPassThrough(t *testing.T) {
	for name, c := range map[string]codec.Codec[panicking]{
		"JSON":    codec.JSON[panicking](),
		"MsgPack": codec.MsgPack[panicking](),
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 { // the pools must survive it
				assert.PanicsWithValue(t, "bug in Marshal", func() { _, _ = c.Append(nil, panicking{}) })
				assert.PanicsWithValue(t, "bug in Unmarshal", func() { _, _ = c.Decode("", []byte("1")) })
			}
		})
	}
}

func TestJSONRefusesNestingBombs(t *testing.T) {
	for _, body := range []string{
		strings.Repeat("[", 10<<20),
		strings.Repeat("[", 5<<20) + strings.Repeat("]", 5<<20),
		strings.Repeat(`{"parent":`, 1<<20) + "null" + strings.Repeat("}", 1<<20),
	} {
		_, err := codec.JSON[any]().Decode("", []byte(body))
		assert.ErrorContains(t, err, "not one JSON value")
		_, err = codec.JSON[order]().Decode("", []byte(body))
		assert.Error(t, err)
	}
}

func TestJSONTakesMemoryInProportion(t *testing.T) {
	type wide struct{ A, B, C, D [8]int64 } // 256 bytes
	const n = 50_000
	for name, body := range map[string]string{
		"any":       "[" + strings.Repeat(`{"a":[]},`, n) + "0]",
		"duplicate": "{" + strings.Repeat(`"lines":[{},{}],`, n) + `"id":""}`,
		"numbers":   "[" + strings.Repeat("0,", n) + "0]",
	} {
		took := allocates(func() { _, _ = codec.JSON[any]().Decode("", []byte(body)) })
		assert.LessOrEqual(t, took, uint64(100*len(body)), name)
		took = allocates(func() { _, _ = codec.JSON[order]().Decode("", []byte(body)) })
		assert.LessOrEqual(t, took, uint64(100*len(body)), name)
	}
	// Elements that are small in the body and large in Go are what the body says; a slice that grows is made several times.
	body := "[" + strings.Repeat("{},", n) + "{}]"
	took := allocates(func() {
		v, err := codec.JSON[[]wide]().Decode("", []byte(body))
		assert.NoError(t, err)
		assert.Len(t, v, n+1)
	})
	assert.LessOrEqual(t, took, uint64(8*256*n))
}

func TestJSONDuplicatesAndCase(t *testing.T) {
	v, err := codec.JSON[order]().Decode("", []byte(`{"id":"a","ID":"b","lines":[{"sku":"x"},{"sku":"y"}],"lines":[{"count":1}]}`))
	require.NoError(t, err)
	assert.Equal(t, "b", v.ID, "the last one wins, in any case, as encoding/json has it")
	assert.Equal(t, 1, len(v.Lines))
}

func TestJSONKeepsSpareCapacity(t *testing.T) {
	dst := make([]byte, 0, 1<<12)
	out, err := codec.JSON[order]().Append(dst, sampleOrder())
	require.NoError(t, err)
	assert.Same(t, &dst[:1][0], &out[0], "with enough capacity the encoding is in dst")
}
