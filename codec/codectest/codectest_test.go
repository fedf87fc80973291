package codectest_test

import (
	"bytes"
	"testing"

	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/codec/codectest"
)

type order struct {
	ID    string            `json:"id"`
	Cents int64             `json:"cents"`
	Lines []string          `json:"lines,omitempty"`
	Notes map[string]string `json:"notes,omitempty"`
	Next  *order            `json:"next,omitempty"`
}

var orders = []order{
	{},
	{ID: "42", Cents: 995, Lines: []string{"tea", "milk"}, Notes: map[string]string{"gift": "yes"}},
	{ID: "43", Cents: -1, Next: &order{ID: "44"}},
}

func TestJSON(t *testing.T)    { codectest.Run(t, codec.JSON[order](), orders...) }
func TestMsgPack(t *testing.T) { codectest.Run(t, codec.MsgPack[order](), orders...) }

func TestJSONAny(t *testing.T) {
	codectest.Run(t, codec.JSON[any](), any(nil), any("text"), any([]any{1.5, map[string]any{"a": true}}))
}

func TestMsgPackAny(t *testing.T) {
	codectest.Run(t, codec.MsgPack[any](), any(nil), any("text"), any([]any{1.5, int64(7), map[string]any{"a": true}}))
}

func TestReads(t *testing.T) {
	codectest.Run(t, codec.Reads(codec.MsgPack[order](), codec.JSON[order]()), orders...)
}

func TestBytes(t *testing.T) {
	codectest.Suite[[]byte]{
		Codec:          codec.Bytes(),
		Values:         [][]byte{{}, []byte("text"), make([]byte, 5000)},
		Equal:          bytes.Equal, // for nil and empty are the same here
		AnyContentType: true,
	}.Run(t)
}
