package bus_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// TestWhatMiddlewareKeepsStays: what one publish has used the next may use again, unless somebody saw it.
func TestWhatMiddlewareKeepsStays(t *testing.T) {
	var kept []*bus.Message
	keep := func(next bus.Sender) bus.Sender {
		return func(ctx context.Context, topic transport.Topic, ms []*bus.Message) error {
			kept = append(kept, ms...)
			return next(ctx, topic, ms)
		}
	}
	tr := memory.New()
	defer tr.Close()
	b := bus.New(tr, bus.UseSend(keep))
	texts := bus.NewTopic("texts", codec.JSON[string]())
	for i := range 10 {
		require.NoError(t, texts.Publish(t.Context(), b, fmt.Sprint(i)))
	}
	for i, m := range kept {
		assert.Equal(t, fmt.Sprintf("%q", fmt.Sprint(i)), string(m.Body))
	}
}

// lender is a codec that does not append: it returns memory of its own.
type lender struct{ codec.Codec[[]byte] }

func (lender) Append(_ []byte, v []byte) ([]byte, error) { return v, nil }

func TestACodecsOwnMemoryIsNotWrittenTo(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	b := bus.New(tr)
	own := bus.NewTopic("own", codec.Codec[[]byte](lender{codec.Bytes()}))
	texts := bus.NewTopic("texts", codec.JSON[string]())
	mine := []byte("mine")
	for range 10 {
		require.NoError(t, own.Publish(t.Context(), b, mine[:2:4]))
		require.NoError(t, texts.Publish(t.Context(), b, "theirs"))
	}
	assert.Equal(t, "mine", string(mine))
}
