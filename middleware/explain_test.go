package middleware_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/memory"
)

// TestMethodsSayTheirKnobs: a middleware that is a method is explained as one that a function made.
func TestMethodsSayTheirKnobs(t *testing.T) {
	tr := memory.New()
	t.Cleanup(func() { tr.Close() })
	breaker := middleware.NewBreaker(middleware.BreakerOptions{Name: "payments"})
	b := bus.New(tr, bus.Use(breaker.Handle, middleware.Correlation{}.Handle))
	jobs.Subscribe(b, "workers", func(context.Context, *bus.Event[string]) error { return nil })
	assert.Contains(t, b.Explain(), "middleware.Breaker: payments: open after 5 failures in a row")
	assert.Contains(t, b.Explain(), "middleware.Correlation")
}
