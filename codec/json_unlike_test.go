package codec_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/codec"
)

// Types of which something is easily overlooked: methods, odd keys, names that differ in case.

type readsItself struct {
	A any         `json:"a"`
	N json.Number `json:"n"`
}

func (r *readsItself) UnmarshalJSON(b []byte) error {
	type fields readsItself
	return json.Unmarshal(b, (*fields)(r))
}

type writesItself struct {
	N json.Number `json:"n"`
}

func (writesItself) MarshalJSON() ([]byte, error) { return []byte(`{"n":1}`), nil }

type writesByPointer struct {
	N json.Number `json:"n"`
}

func (*writesByPointer) MarshalJSON() ([]byte, error) { return []byte(`"pointer"`), nil }

type Writer1 struct{ N json.Number }

func (Writer1) MarshalJSON() ([]byte, error) { return []byte(`1`), nil }

type Writer2 struct{ M int }

func (Writer2) MarshalJSON() ([]byte, error) { return []byte(`2`), nil }

type writesByNone struct { // both are promoted, so none is
	Writer1
	Writer2
}

type appends struct{ X int }

func (appends) AppendText(b []byte) ([]byte, error) { return append(b, "appended"...), nil }

type writesText struct{ s string }

func (w writesText) MarshalText() ([]byte, error) { return []byte(w.s), nil }

type twoWayKey string

func (k *twoWayKey) UnmarshalJSON(b []byte) error { *k = "json " + twoWayKey(b); return nil }
func (k *twoWayKey) UnmarshalText(b []byte) error { *k = "text " + twoWayKey(b); return nil }

type Names struct{ Name, NAME int }

type moreNames struct {
	Names
	NaMe int
}

func encodesLike[T any](t *testing.T, v T) {
	t.Helper()
	out, err := codec.JSON[T]().Append(nil, v)
	require.NoError(t, err)
	assert.Equal(t, string(stdJSON(t, &v)), string(out), "%T", v)
}

func refusesToEncode[T any](t *testing.T, v T) {
	t.Helper()
	_, err := codec.JSON[T]().Append(nil, v)
	assert.Error(t, err, "%T", v)
}

func TestJSONEncodesOddTypesLikeTheStandardLibrary(t *testing.T) {
	encodesLike(t, readsItself{A: json.Number("12"), N: "3"})
	encodesLike(t, map[string]writesByPointer{"a": {N: "4"}})
	encodesLike(t, writesByNone{Writer1{"5"}, Writer2{6}})
	encodesLike(t, appends{4})
	refusesToEncode(t, map[appends]int{{4}: 1})
	refusesToEncode(t, map[float64]int{1.5: 1})
	refusesToEncode(t, map[bool]int(nil))
	refusesToEncode(t, map[struct{ X int }]int{})
	encodesLike(t, map[string]string{"\xff": "a\xc3(", "b": "\ufffd", "c": "\u2028"})
	encodesLike(t, []writesText{{"\xff"}})
	encodesLike(t, []json.RawMessage{json.RawMessage("\"\u2028\u2029\""), json.RawMessage("\"\xff\"")})
}

func TestJSONDecodesOddTypesLikeTheStandardLibrary(t *testing.T) {
	sameJSON[writesItself](t, []byte(`{"n":"x"}`))
	for _, body := range []string{`{}`, `{"1":1}`, `{"true":1}`} {
		sameJSON[map[float64]int](t, []byte(body))
		sameJSON[map[bool]int](t, []byte(body))
		sameJSON[map[any]int](t, []byte(body))
		sameJSON[map[twoWayKey]int](t, []byte(body))
	}
	sameJSON[moreNames](t, []byte(`{"name":1}`))
	sameJSON[moreNames](t, []byte(`{"Name":1,"NAME":2,"NaMe":3,"nAME":4}`))
	sameJSON[[]time.Time](t, []byte(`["\u0032026-01-02T03:04:05Z"]`))
	sameJSON[map[time.Time]int](t, []byte(`{"\u0032026-01-02T03:04:05Z":1}`))
}
