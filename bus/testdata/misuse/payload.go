// A topic of Order takes orders and gives orders.
package main

import (
	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
)

func main() {
	orders.Publish(ctx, b, Refund{})                  // want `cannot use Refund.* as Order value`
	orders.Publish(ctx, b, &Order{})                  // want `cannot use &Order.* as Order value`
	orders.Publish(ctx, b, []Order{})                 // want `cannot use \[\]Order.* as Order value`
	orders.PublishAll(ctx, b, []Refund{})             // want `cannot use \[\]Refund.* as \[\]Order value`
	orders.PublishAll(ctx, b, Order{})                // want `cannot use Order.* as \[\]Order value`
	orders.KeyedBy(func(Refund) string { return "" }) // want `cannot use .*func.* as func\(Order\) string value`

	var r Refund
	r, _ = orders.Decode(nil) // want `cannot use .*Order.* as Refund value in assignment`
	_ = r

	var t *bus.Topic[Order] = bus.NewTopic("refunds", codec.JSON[Refund]()) // want `cannot use .*Topic\[Refund\].* as \*bus.Topic\[Order\]`
	t = refunds                                                             // want `cannot use refunds .* as \*bus.Topic\[Order\] value in assignment`
	_ = t
}
