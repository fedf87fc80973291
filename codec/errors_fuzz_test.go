package codec_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/codec"
)

const secretInBody = "CANARYcanary"

// FuzzErrorsShowNoPayload: whatever is before and after a secret in a body, an error of any codec has a type, is short, and does not
// show it.
func FuzzErrorsShowNoPayload(f *testing.F) {
	f.Add("", `{"text":"`, `"`)
	f.Add("application/json", `{"at":"`, `"}`)
	f.Add("application/json; x=y", `{"`, `":1,"text":5}`)
	f.Add("application/msgpack", "\x81\xac", "\x01")
	f.Add("application/msgpack", "\x81\xa2at\xac", "")
	f.Add("application/x-foreign", "", "")
	f.Fuzz(func(t *testing.T, contentType, before, after string) {
		if strings.Contains(contentType, secretInBody) {
			return
		}
		body := []byte(before + secretInBody + after)
		for _, decode := range []func() error{
			func() error { return failure(codec.JSON[event](), contentType, body) },
			func() error { return failure(codec.JSON[any](), contentType, body) },
			func() error { return failure(codec.MsgPack[event](), contentType, body) },
			func() error { return failure(codec.MsgPack[map[int]any](), contentType, body) },
			func() error {
				return failure(codec.Reads(codec.JSON[event](), codec.MsgPack[event]()), contentType, body)
			},
		} {
			var err error
			mustStayModest(t, len(body), func() { err = decode() })
			if err == nil {
				continue
			}
			var bad *codec.DecodeError
			var other *codec.ContentTypeError
			require.True(t, errors.As(err, &bad) || errors.As(err, &other), "%T", err)
			for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
				require.NotContains(t, fmt.Sprintf(verb, err), secretInBody)
			}
			require.Less(t, len(err.Error()), 2000)
		}
	})
}

func failure[T any](c codec.Codec[T], contentType string, body []byte) error {
	_, err := c.Decode(contentType, body)
	return err
}

// FuzzBytes: a body is its value, whatever it is declared to be, and what is appended to the value writes over nothing.
func FuzzBytes(f *testing.F) {
	f.Add("", []byte(nil))
	f.Add("x\x00", []byte("body"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		v, err := codec.Bytes().Decode(contentType, body)
		require.NoError(t, err)
		require.Equal(t, string(body), string(v))
		require.Equal(t, len(v), cap(v))
		again, err := codec.Bytes().Append([]byte("x"), v)
		require.NoError(t, err)
		require.Equal(t, "x"+string(body), string(again))
	})
}
