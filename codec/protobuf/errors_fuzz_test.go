package protobuf_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/codec/protobuf"
)

// FuzzErrorsShowNoPayload: whatever is before and after a secret in a body, an error has a type, is short, and does not show it.
func FuzzErrorsShowNoPayload(f *testing.F) {
	const secret = "CANARYcanary"
	f.Add("\x0a\x0e\x0a\x0c", "")
	f.Add("\x0a\xff\xff\xff\xff\x0f", "\xff")
	c := protobuf.Of[*structpb.Struct]()
	f.Fuzz(func(t *testing.T, before, after string) {
		_, err := c.Decode("", []byte(before+secret+after))
		if err == nil {
			return
		}
		var bad *codec.DecodeError
		require.True(t, errors.As(err, &bad), "%T", err)
		require.NotContains(t, err.Error(), secret)
		require.Less(t, len(err.Error()), 1000)
	})
}
