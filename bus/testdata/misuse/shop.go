// What the other files use. Each of them is compiled together with this one, and is a program of its own.
package main

import (
	"context"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
)

type Order struct{ Customer string }

type Refund struct{ Cents int }

var (
	orders  = bus.NewTopic("orders", codec.JSON[Order]())
	refunds = bus.NewTopic("refunds", codec.JSON[Refund]())

	b   *bus.Bus
	ctx context.Context
)

func onOrder(context.Context, *bus.Event[Order]) error      { return nil }
func onRefund(context.Context, *bus.Event[Refund]) error    { return nil }
func onOrders(context.Context, []*bus.Event[Order]) error   { return nil }
func onRefunds(context.Context, []*bus.Event[Refund]) error { return nil }

func logged(next bus.Handler) bus.Handler { return next }

func audited[T any](next bus.HandlerOf[T]) bus.HandlerOf[T] { return next }
