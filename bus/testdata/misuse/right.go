// The control: everything used as it is meant, so that the errors of the other files are those of the mistakes.
package main

import (
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
)

func main() {
	b = bus.New(nil, bus.Grace(time.Second), bus.Use(logged), bus.UseSend())
	t := bus.NewTopic("orders", codec.JSON[Order](), bus.MaxBytes(1), bus.Retain(bus.Retention{}))
	t = t.KeyedBy(func(o Order) string { return o.Customer })

	t.Publish(ctx, b, Order{}, bus.Key("k"), bus.ID("i"), bus.Header("a", "b"), bus.Delay(time.Second))
	t.Publish(ctx, b, Order{}, bus.At(time.Now()))
	t.PublishAll(ctx, b, []Order{{}, {}}, bus.Key("k"))

	t.Subscribe(b, "a", onOrder, bus.Concurrency(1), bus.Start(bus.Latest), bus.Lease(time.Second), bus.Use(logged))
	t.Subscribe(b, "b", bus.Wrap(onOrder, audited))
	t.Subscribe(b, "c", bus.Wrap(onOrder, audited[Order], audited[Order]))
	t.Subscribe(b, "d", bus.Batched(10, time.Second, onOrders), bus.Start(bus.At(time.Now())))
	refunds.Subscribe(b, "e", bus.Batched(10, time.Second, onRefunds))

	var s *bus.Subscriber[Order] = orders.Subscribe(b, "f", onOrder)
	var o Order
	o, _ = orders.Decode(nil)
	_, _ = s, o
}
