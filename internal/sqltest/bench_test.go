package sqltest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/sqlclaims"
	"github.com/typedbus/typedbus/transport"
)

// BenchmarkIdempotent handles a new event each time, one after the other: with two statements, in a transaction with an effect,
// and as a duplicate.
func BenchmarkIdempotent(b *testing.B) {
	for name, d := range databases {
		_, _, claims := d.setup(b)
		next := 0
		handle := func(b *testing.B, new bool, h bus.HandlerOf[string]) {
			e := bustest.NewEvent(b, nil, orders, "x")
			if !new {
				next++
			}
			o := middleware.IdempotentOptions{Keep: time.Minute, Key: func(*bus.Delivery) string { return fmt.Sprint(next) }}
			mw := middleware.Idempotent(claims, o)(func(ctx context.Context, d *bus.Delivery) error {
				return h(ctx, &bus.Event[string]{Delivery: d})
			})
			b.ReportAllocs()
			for b.Loop() {
				if new {
					next++
				}
				if err := mw(b.Context(), e.Delivery); err != nil {
					b.Fatal(err)
				}
			}
		}
		nothing := func(context.Context, *bus.Event[string]) error { return nil }
		b.Run(name+"/two statements", func(b *testing.B) { handle(b, true, nothing) })
		b.Run(name+"/in a transaction", func(b *testing.B) { handle(b, true, sqlclaims.InTx(claims, charge)) })
		b.Run(name+"/duplicate", func(b *testing.B) { handle(b, false, nothing) })
	}
}

// BenchmarkRenew renews a thousand claims.
func BenchmarkRenew(b *testing.B) {
	for name, d := range databases {
		_, _, claims := d.setup(b)
		var cs []transport.Claim
		for n := range 1000 {
			cs = append(cs, claim(fmt.Sprint(n), "1"))
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if lost, err := claims.Renew(b.Context(), cs, time.Minute); err != nil || len(lost) > 0 {
					b.Fatal(len(lost), err)
				}
			}
		})
	}
}
