package codec_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/codec"
)

func TestReadsWritesTheFirstAndReadsAll(t *testing.T) {
	asJSON, asMsgPack := codec.JSON[order](), codec.MsgPack[order]()
	both := codec.Reads(asMsgPack, asJSON)
	assert.Equal(t, "application/msgpack", both.ContentType())
	for _, writer := range []codec.Codec[order]{asJSON, asMsgPack, both} {
		body, err := writer.Append(nil, sampleOrder())
		require.NoError(t, err)
		got, err := both.Decode(writer.ContentType(), body)
		require.NoError(t, err)
		assert.Equal(t, sampleOrder(), inUTC(got))
	}
}

func TestReadsTakesNoContentTypeForTheFirst(t *testing.T) {
	got, err := codec.Reads(codec.JSON[int](), codec.MsgPack[int]()).Decode("", []byte("7"))
	require.NoError(t, err)
	assert.Equal(t, 7, got)
}

func TestReadsRefusesWhatNoneReads(t *testing.T) {
	_, err := codec.Reads(codec.JSON[order](), codec.MsgPack[order]()).Decode("text/csv", nil)
	assert.Equal(t, &codec.ContentTypeError{Got: "text/csv",
		Want: []string{"application/json", "application/msgpack", "application/x-msgpack", "application/vnd.msgpack"}}, err)
}

func TestReadsStopsAtTheCodecThatReads(t *testing.T) {
	asBytes := codec.Reads(codec.MsgPack[[]byte](), codec.JSON[[]byte](), codec.Bytes())
	_, err := asBytes.Decode("application/json", []byte("not base64"))
	_, isDecode := errors.AsType[*codec.DecodeError](err)
	assert.True(t, isDecode, "a body that the reader of its content type refuses is not tried with others: %v", err)
	_, err = asBytes.Decode("application/msgpack", []byte{0xc1})
	_, isDecode = errors.AsType[*codec.DecodeError](err)
	assert.True(t, isDecode, "%v", err)
	got, err := asBytes.Decode("text/csv", []byte("a,b"))
	require.NoError(t, err)
	assert.Equal(t, "a,b", string(got))
}

func TestReadsOfOneIsThatOne(t *testing.T) {
	_, err := codec.Reads(codec.JSON[int]()).Decode("text/csv", nil)
	assert.Equal(t, &codec.ContentTypeError{Got: "text/csv", Want: []string{"application/json"}}, err)
}

func TestBytesShareNoCapacity(t *testing.T) {
	buffer := []byte("first second")
	got, err := codec.Bytes().Decode("anything", buffer[:5])
	require.NoError(t, err)
	_ = append(got, '!')
	assert.Equal(t, "first second", string(buffer))
}
