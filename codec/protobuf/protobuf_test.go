package protobuf_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/codec/codectest"
	"github.com/typedbus/typedbus/codec/protobuf"
)

func equal[T proto.Message](got, want T) bool { return proto.Equal(got, want) }

func TestContract(t *testing.T) {
	full, err := structpb.NewStruct(map[string]any{"a": 1.5, "b": []any{"x", nil, true}, "c": map[string]any{}})
	require.NoError(t, err)
	codectest.Suite[*structpb.Struct]{
		Codec:  protobuf.Of[*structpb.Struct](),
		Values: []*structpb.Struct{{}, full},
		Equal:  equal[*structpb.Struct],
	}.Run(t)
	codectest.Suite[*timestamppb.Timestamp]{
		Codec:  protobuf.Of[*timestamppb.Timestamp](),
		Values: []*timestamppb.Timestamp{{}, timestamppb.New(time.Unix(1, 2))},
		Equal:  equal[*timestamppb.Timestamp],
	}.Run(t)
}

func TestReadsOtherNames(t *testing.T) {
	c := protobuf.Of[*durationpb.Duration]()
	body, err := c.Append(nil, durationpb.New(time.Minute))
	require.NoError(t, err)
	for _, declared := range []string{"application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf; a=b"} {
		got, err := c.Decode(declared, body)
		require.NoError(t, err)
		assert.Equal(t, time.Minute, got.AsDuration())
	}
	_, err = c.Decode("application/json", body)
	_, refused := errors.AsType[*codec.ContentTypeError](err)
	assert.True(t, refused)
}

func TestRoundTrip(t *testing.T) {
	c := protobuf.Of[*timestamppb.Timestamp]()
	rapid.Check(t, func(t *rapid.T) {
		in := &timestamppb.Timestamp{Seconds: rapid.Int64().Draw(t, "s"), Nanos: rapid.Int32().Draw(t, "ns")}
		body, err := c.Append([]byte("x"), in)
		require.NoError(t, err)
		got, err := c.Decode("", body[1:])
		require.NoError(t, err)
		require.True(t, proto.Equal(in, got))
	})
}

func TestEmptyBodyIsTheEmptyMessage(t *testing.T) {
	got, err := protobuf.Of[*durationpb.Duration]().Decode("", nil)
	require.NoError(t, err)
	assert.Zero(t, got.AsDuration())
}

func TestValueDoesNotShareTheBody(t *testing.T) {
	c := protobuf.Of[*wrapperspb.BytesValue]()
	body, err := c.Append(nil, wrapperspb.Bytes([]byte("text")))
	require.NoError(t, err)
	got, err := c.Decode("", body)
	require.NoError(t, err)
	clear(body)
	assert.Equal(t, "text", string(got.GetValue()))
}

func TestEncodeErrors(t *testing.T) {
	_, err := protobuf.Of[*durationpb.Duration]().Append(nil, nil)
	assert.EqualError(t, err, "codec: encode *durationpb.Duration as application/protobuf: the message is nil")
	_, err = protobuf.Of[proto.Message]().Append(nil, nil)
	assert.ErrorContains(t, err, "the message is nil")

	dst := []byte("kept")
	out, err := protobuf.Of[*wrapperspb.StringValue]().Append(dst, wrapperspb.String("kanarienvogel\xff"))
	assert.Equal(t, dst, out)
	assert.EqualError(t, err, "codec: encode *wrapperspb.StringValue as application/protobuf: "+
		"a required field is missing, or a string is not UTF-8")
	assert.ErrorIs(t, err, proto.Error)
}

func TestDecodeErrors(t *testing.T) {
	_, err := protobuf.Of[*wrapperspb.StringValue]().Decode("", []byte("\x0a\x0ekanarienvogel\xff"))
	assert.EqualError(t, err, "codec: decode application/protobuf into *wrapperspb.StringValue: "+
		"the 16 bytes are not such a message")
	assert.NotContains(t, fmt.Sprintf("%#v %+v", err, err), "kanarien")
	assert.ErrorIs(t, err, proto.Error)
	_, err = protobuf.Of[proto.Message]().Decode("", nil)
	assert.ErrorContains(t, err, "an interface is no message")
}

// nest wraps a value in n lists: ListValue{values: [Value{list_value: ...}]}.
func nest(n int) []byte {
	var body []byte
	for range n {
		value := append([]byte{0x32}, appendLength(nil, len(body))...)
		value = append(value, body...)
		body = append([]byte{0x0a}, appendLength(nil, len(value))...)
		body = append(body, value...)
	}
	return body
}

func appendLength(dst []byte, n int) []byte {
	for ; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

func TestNesting(t *testing.T) {
	c := protobuf.Of[*structpb.ListValue]()
	_, err := c.Decode("", nest(1000))
	require.NoError(t, err)
	_, err = c.Decode("", nest(6000)) // 12,000 messages
	assert.ErrorContains(t, err, "are not such a message")
}

func TestMemoryInProportion(t *testing.T) {
	body := bytes.Repeat([]byte{0x0a, 0x00}, 100_000) // empty values, a message each
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := protobuf.Of[*structpb.ListValue]().Decode("", body)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100*len(body)))
}

func FuzzProtobufDecode(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(nest(3))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := protobuf.Of[*structpb.Struct]()
		v, err := c.Decode("", body)
		if err != nil {
			_ = err.Error()
			return
		}
		again, err := c.Append(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		if w, err := c.Decode("", again); err != nil || !proto.Equal(v, w) {
			t.Fatalf("encoded again it is %v", err)
		}
	})
}

func BenchmarkProtobuf(b *testing.B) {
	c := protobuf.Of[*timestamppb.Timestamp]()
	v := timestamppb.New(time.Unix(1e9, 5))
	dst := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = c.Append(dst[:0], v)
		_, _ = c.Decode("", dst)
	}
}
