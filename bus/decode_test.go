package bus_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
)

func TestWhatCannotBeDecodedIsNoValue(t *testing.T) {
	body := []byte(`{"ID":"42","Cents":"many"}`)
	for name, c := range map[string]codec.Codec[Order]{"in place": codec.JSON[Order](), "not in place": codec.Reads(codec.JSON[Order]())} {
		t.Run(name, func(t *testing.T) {
			v, err := bus.NewTopic("orders", c).Decode(&bus.Message{Body: body})
			assert.ErrorIs(t, err, bus.ErrUndecodable)
			assert.Zero(t, v)
		})
	}
}
