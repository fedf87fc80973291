package middleware_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/middleware"
)

func explode(context.Context, *bus.Delivery) error { panic(map[string]int{"ouch": 1}) }

func TestAPanicBecomesAnError(t *testing.T) {
	err := middleware.Recover()(explode)(t.Context(), oneDelivery("1"))
	var p *bus.PanicError
	require.ErrorAs(t, err, &p)
	assert.Equal(t, map[string]int{"ouch": 1}, p.Value)
	assert.Contains(t, string(p.Stack), "middleware_test.explode", "the stack shows where")
	assert.NotContains(t, err.Error(), "explode", "the text does not")
	assert.Equal(t, bus.Failed, bus.VerdictOf(err).Kind)
}

func TestAPanicWithAMarkedErrorIsAFailureAllTheSame(t *testing.T) {
	err := middleware.Recover()(func(context.Context, *bus.Delivery) error { panic(bus.Permanent(errBroken)) })(t.Context(), oneDelivery("1"))
	assert.Equal(t, bus.Failed, bus.VerdictOf(err).Kind, "a panic says nothing about the event")
}

func TestAPanicOfNilIsOne(t *testing.T) {
	err := middleware.Recover()(func(context.Context, *bus.Delivery) error { panic(nil) })(t.Context(), oneDelivery("1"))
	var p *bus.PanicError
	require.ErrorAs(t, err, &p)
	assert.IsType(t, new(runtime.PanicNilError), p.Value)
}

func TestMiddlewareFurtherOutSeesThePanic(t *testing.T) {
	calls := 0
	h := middleware.Retry(middleware.RetryOptions{Min: 1, Max: 1})(middleware.Recover()(func(context.Context, *bus.Delivery) error {
		if calls++; calls < 3 {
			panic(errors.New("for now"))
		}
		return nil
	}))
	require.NoError(t, h(t.Context(), oneDelivery("1")))
	assert.Equal(t, 3, calls)
}

func BenchmarkRecover(b *testing.B) { costOf(b, middleware.Recover()) }
