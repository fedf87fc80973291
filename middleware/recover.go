package middleware

import (
	"context"
	"runtime/debug"

	"github.com/typedbus/typedbus/bus"
)

// Recover turns a panic of what is inside into an ordinary error, a [*bus.PanicError], so that the middleware further out sees
// a failure like any other: one that may be tried again, counted, or end in the dead letters. The stack is in the error's
// field and not in its text.
//
// Its place is the innermost. The bus survives panics without it, but then nothing between the handler and the bus knows of
// them. runtime.Goexit is none: it ends the goroutine, and the bus counts the delivery as failed.
//
// It may be used for many subscriptions, concurrently.
func Recover() bus.Middleware {
	return bus.Describe(bus.Layer{Name: "middleware.Recover"}, func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = &bus.PanicError{Value: p, Stack: debug.Stack()}
				}
			}()
			return next(ctx, d)
		}
	})
}
