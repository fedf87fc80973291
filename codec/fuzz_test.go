package codec_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/codec"
)

// The bombs among the seeds are in testdata/fuzz, so that they also run as tests.

func FuzzJSONDecode(f *testing.F) {
	f.Add([]byte(`{"text":"a","events":[{"child":{}}],"at":"2025-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"ID":1,"id":2}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		fuzzDecode(t, codec.JSON[any](), body)
		fuzzDecode(t, codec.JSON[event](), body)
	})
}

func FuzzMsgPackDecode(f *testing.F) {
	body, err := codec.MsgPack[event]().Append(nil, event{Text: "a", Events: []event{{}}, Counts: map[string]int64{"b": 1}})
	require.NoError(f, err)
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		fuzzDecode(t, codec.MsgPack[any](), body)
		fuzzDecode(t, codec.MsgPack[event](), body)
		fuzzDecode(t, codec.MsgPack[tree](), body)
		fuzzDecode(t, codec.MsgPack[map[int]any](), body)
		fuzzDecode(t, codec.MsgPack[[]struct{ *Lifted }](), body)
	})
}

// fuzzDecode expects that body gives a value, which can be encoded again, or an error.
func fuzzDecode[T any](t *testing.T, c codec.Codec[T], body []byte) {
	var v T
	var err error
	mustStayModest(t, len(body), func() { v, err = c.Decode("", body) })
	if err != nil {
		_ = err.Error()
		return
	}
	if again, err := c.Append(nil, v); err == nil {
		if _, err := c.Decode("", again); err != nil {
			t.Fatalf("decoded and encoded again it is an error: %v", err)
		}
	}
}
