package child

import (
	"context"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/chaos/record"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// An Effect is what the handlers of this program do besides their work.
type Effect string

const (
	// Claimed is a record of what is handled, made under middleware.Idempotent with the claims of the transport: the mark that it
	// is done comes after it, and [Marked] after that.
	Claimed Effect = "claimed"
	// Relayed is one of [Outputs], published through the event.
	Relayed Effect = "relayed"
)

// Marked is the text of an effect that is none: it tells that the claim of the event is done.
const Marked = "marked"

// Outputs is the topic of what handlers publish.
var Outputs = bus.NewTopic("outputs", codec.JSON[int](), bus.Retain(bus.Retention{MaxLen: -1}))

// OutputOf is the id of the output of an event.
func OutputOf(id string) string { return "output-of-" + id }

// Lingers lets Linger pass, or less if ctx ends.
func (c Consuming) Lingers(ctx context.Context) { pause(ctx, c.Linger) }

// Once is [middleware.Idempotent] as all consumers use it.
func (c Consuming) Once(claims middleware.Claims) bus.Middleware {
	return middleware.Idempotent(claims, middleware.IdempotentOptions{Expiry: c.Lease})
}

// effective gives a consumer the effect that its spec says.
func effective(c *Consumer) *Consumer {
	switch c.Effect {
	case Claimed:
		c.Use = func(tr *redisstream.Transport) []bus.Middleware { return []bus.Middleware{c.Once(marking{tr, c.Log})} }
		c.Do = func(ctx context.Context, e *bus.Event[Job]) error {
			record.Effect(c.Log, e.Delivery)
			c.Lingers(ctx)
			return nil
		}
	case Relayed:
		c.Do = func(ctx context.Context, e *bus.Event[Job]) error {
			err := Outputs.Publish(ctx, e, e.Payload.N, bus.ID(OutputOf(e.ID)))
			c.Lingers(ctx)
			return err
		}
	}
	return c
}

// marking writes down that a claim is done.
type marking struct {
	middleware.Claims
	log history.Log
}

func (m marking) Finish(ctx context.Context, c transport.Claim, keep time.Duration) error {
	err := m.Claims.Finish(ctx, c, keep)
	if err == nil {
		m.log.Log(history.Record{What: history.Effect, ID: c.Key, Text: Marked})
	}
	return err
}
