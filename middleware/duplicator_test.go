package middleware_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestDuplicatorHandlesTwice(t *testing.T) {
	second := errors.New("the second time")
	for want, script := range map[int][]error{
		2: {nil, nil},
		1: {errBroken},
	} {
		calls := 0
		err := middleware.Duplicator()(func(context.Context, *bus.Delivery) error { calls++; return script[calls-1] })(t.Context(), oneDelivery("1"))
		assert.Equal(t, want, calls)
		assert.Equal(t, script[0], err)
	}
	calls := 0
	err := middleware.Duplicator()(func(context.Context, *bus.Delivery) error {
		if calls++; calls == 2 {
			return second
		}
		return nil
	})(t.Context(), oneDelivery("1"))
	assert.True(t, err == second, "the outcome is that of the second call")
}

func TestDuplicatorDoesNotBeginAgainWhatIsCutShort(t *testing.T) {
	calls := 0
	err := middleware.Duplicator()(func(context.Context, *bus.Delivery) error { calls++; return nil })(ended(t, bus.ErrDraining), oneDelivery("1"))
	require.NoError(t, err, "what is done is done")
	assert.Equal(t, 1, calls)
}

func TestDuplicatorOnABus(t *testing.T) {
	onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
		out := bus.NewTopic("out", codec.JSON[int]())
		calls, published := map[string]int{}, 0
		beads.Subscribe(b, "counting", func(ctx context.Context, e *bus.Event[int]) error {
			calls[e.ID]++
			return out.Publish(ctx, e, e.Payload)
		}, bus.Use(middleware.Duplicator()), bus.Concurrency(1))
		out.Subscribe(b, "reading", func(context.Context, *bus.Event[int]) error { published++; return nil }, bus.Concurrency(1))
		publishBeads(t, b, 5)
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.Len(t, calls, 5)
		for _, n := range calls {
			assert.Equal(t, 2, n)
		}
		assert.Equal(t, 10, published, "both publish")
	})
}

func BenchmarkDuplicator(b *testing.B) { costOf(b, middleware.Duplicator()) }
