package middleware

import (
	"context"
	"time"

	"github.com/typedbus/typedbus/bus"
)

// An Observer is told what middleware further in does beside calling the handler; package telemetry makes spans and metrics of
// it. Its methods return soon.
type Observer interface {
	// Retried is called when a try has failed with err, and another follows after wait. try counts from 1.
	Retried(ctx context.Context, d *bus.Delivery, try int, wait time.Duration, err error)
	// Duplicate is called when an event is not handled, because it was (done) or because another handles it now (not done).
	Duplicate(ctx context.Context, d *bus.Delivery, done bool)
}

type observerKey struct{}

// Observed makes a context in which middleware tells o, and whoever was told in ctx, what it does.
func Observed(ctx context.Context, o Observer) context.Context {
	return context.WithValue(ctx, observerKey{}, observers{o, observerOf(ctx)})
}

// observerOf returns who is to be told; nil for nobody.
func observerOf(ctx context.Context) Observer {
	o, _ := ctx.Value(observerKey{}).(Observer)
	return o
}

// observers tells both; the second may be nil.
type observers [2]Observer

func (os observers) Retried(ctx context.Context, d *bus.Delivery, try int, wait time.Duration, err error) {
	for _, o := range os {
		if o != nil {
			o.Retried(ctx, d, try, wait, err)
		}
	}
}

func (os observers) Duplicate(ctx context.Context, d *bus.Delivery, done bool) {
	for _, o := range os {
		if o != nil {
			o.Duplicate(ctx, d, done)
		}
	}
}
