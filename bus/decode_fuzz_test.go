package bus_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
)

// FuzzTopicDecode: a topic refuses what is too large before it looks at it; what it decodes can be decoded again; and an error is
// ErrUndecodable and does not show the body.
func FuzzTopicDecode(f *testing.F) {
	f.Add("", []byte(`{"N":1}`))
	f.Add("application/msgpack", []byte("\xdd\xff\xff\xff\xff"))
	f.Add("image/png", []byte("x"))
	f.Add("", []byte(strings.Repeat("[", 101)))
	const most, secret = 100, "CANARYcanary"
	topic := bus.NewTopic("fuzzed", codec.Reads(codec.JSON[fuzzed](), codec.MsgPack[fuzzed]()), bus.MaxBytes(most))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		v, err := topic.Decode(&bus.Message{ContentType: contentType, Body: body})
		if len(body) > most {
			require.ErrorIs(t, err, bus.ErrTooLarge)
		}
		if err != nil {
			require.Zero(t, v)
			require.ErrorIs(t, err, bus.ErrUndecodable)
			require.Less(t, len(err.Error()), 1000)
			_, err = topic.Decode(&bus.Message{ContentType: contentType, Body: append([]byte(secret), body...)})
			if err != nil && !strings.Contains(contentType, secret) {
				require.NotContains(t, err.Error(), secret)
			}
			return
		}
		again, err := topic.Decode(&bus.Message{ContentType: contentType, Body: body})
		require.NoError(t, err)
		require.Equal(t, v, again)
	})
}

type fuzzed struct {
	N    int
	Text string
}
