package middleware

import (
	"context"
	"fmt"
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

// Observed makes a context in which middleware tells o, and whoever was told in ctx, what it does.
func Observed(ctx context.Context, o Observer) context.Context {
	return &observed{ctx, o}
}

// observed is a context with an observer. It asks for the one further out when there is something to tell, which is rare.
type observed struct {
	context.Context
	o Observer
}

type observerKey struct{}

func (c *observed) Value(key any) any {
	if key == (observerKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// String keeps those who print contexts from printing the observer.
func (c *observed) String() string { return fmt.Sprintf("%v.Observed", c.Context) }

// observerOf returns who is to be told; nil for nobody.
func observerOf(ctx context.Context) Observer {
	o, _ := ctx.Value(observerKey{}).(Observer)
	return o
}

// Retried tells both.
func (c *observed) Retried(ctx context.Context, d *bus.Delivery, try int, wait time.Duration, err error) {
	if c.o != nil {
		c.o.Retried(ctx, d, try, wait, err)
	}
	if outer := observerOf(c.Context); outer != nil {
		outer.Retried(ctx, d, try, wait, err)
	}
}

// Duplicate tells both.
func (c *observed) Duplicate(ctx context.Context, d *bus.Delivery, done bool) {
	if c.o != nil {
		c.o.Duplicate(ctx, d, done)
	}
	if outer := observerOf(c.Context); outer != nil {
		outer.Duplicate(ctx, d, done)
	}
}
