// A topic of Order has handlers of orders, however they are wrapped.
package main

import (
	"context"
	"time"

	"github.com/typedbus/typedbus/bus"
)

func main() {
	orders.Subscribe(b, "a", onRefund)                                          // want `cannot use onRefund .* as bus.HandlerOf\[Order\] value`
	orders.Subscribe(b, "b", bus.Wrap(onRefund))                                // want `cannot use .*HandlerOf\[Refund\].* as bus.HandlerOf\[Order\] value`
	orders.Subscribe(b, "c", bus.Wrap(onOrder, audited[Refund]))                // want `of audited\[Refund\] does not match .*MiddlewareOf\[Order\]`
	orders.Subscribe(b, "d", bus.Batched(10, time.Second, onRefunds))           // want `cannot use .*HandlerOf\[Refund\].* as bus.HandlerOf\[Order\] value`
	orders.Subscribe(b, "e", bus.Batched(10, time.Second, onOrder))             // want `does not match`
	orders.Subscribe(b, "f", onOrders)                                          // want `cannot use onOrders .* as bus.HandlerOf\[Order\] value`
	orders.Subscribe(b, "g", bus.Wrap(onOrder, logged))                         // want `of logged does not match .*MiddlewareOf`
	orders.Subscribe(b, "h", func(context.Context, Order) error { return nil }) // want `cannot use .*func.* as bus.HandlerOf\[Order\] value`
	orders.Subscribe(b, "i", func(context.Context, *bus.Event[Order]) {})       // want `cannot use .*func.* as bus.HandlerOf\[Order\] value`
	orders.Subscribe(b, "j", func(context.Context, *bus.Event[Refund]) error {  // want `cannot use .*func.* as bus.HandlerOf\[Order\] value`
		return nil
	})
	var s *bus.Subscriber[Refund] = orders.Subscribe(b, "k", onOrder) // want `cannot use .*Subscriber\[Order\].* as \*bus.Subscriber\[Refund\]`
	_ = s
}
