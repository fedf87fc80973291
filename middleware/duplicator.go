package middleware

import (
	"context"

	"github.com/typedbus/typedbus/bus"
)

// Duplicator is for tests: it handles every delivery twice, as if the event had been delivered twice. What is inside is
// called again after a success, and the outcome is that of the second call; what both publish through the event is stored.
// After an error, or when the context has ended, there is no second call. A handler that is safe to be called again does the
// same with Duplicator around it as without.
//
// It may be used for many subscriptions, concurrently.
func Duplicator() bus.Middleware {
	return bus.Describe(bus.Layer{Name: "middleware.Duplicator", Knobs: "for tests"}, func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			if err := next(ctx, d); err != nil || ctx.Err() != nil {
				return err
			}
			return next(ctx, d)
		}
	})
}
