// An option goes where it means something, and nowhere else.
package main

import (
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
)

func main() {
	bus.New(nil, bus.MaxBytes(1))    // want `as bus.Option value.*missing method applyBus`
	bus.New(nil, bus.Concurrency(1)) // want `as bus.Option value.*missing method applyBus`
	bus.New(nil, bus.Key("k"))       // want `as bus.Option value.*missing method applyBus`

	bus.NewTopic("a", codec.JSON[Order](), bus.Grace(time.Second)) // want `as bus.TopicOption value.*missing method applyTopic`
	bus.NewTopic("b", codec.JSON[Order](), bus.Concurrency(1))     // want `as bus.TopicOption value.*missing method applyTopic`
	bus.NewTopic("c", codec.JSON[Order](), bus.Use(logged))        // want `as bus.TopicOption value.*missing method applyTopic`

	orders.Publish(ctx, b, Order{}, bus.MaxBytes(1))              // want `as bus.PublishOption value.*missing method applyPublish`
	orders.Publish(ctx, b, Order{}, bus.Retain(bus.Retention{}))  // want `as bus.PublishOption value.*missing method applyPublish`
	orders.Publish(ctx, b, Order{}, bus.Redeliver(bus.Backoff{})) // want `as bus.PublishOption value.*missing method applyPublish`
	orders.PublishAll(ctx, b, []Order{{}}, bus.Use(logged))       // want `as bus.PublishOption value.*missing method applyPublish`
	orders.PublishAll(ctx, b, []Order{{}}, bus.Start(bus.Latest)) // want `as bus.PublishOption value.*missing method applyPublish`

	orders.Subscribe(b, "a", onOrder, bus.Key("k"))            // want `as bus.SubscribeOption value.*missing method applySubscribe`
	orders.Subscribe(b, "b", onOrder, bus.Delay(time.Second))  // want `as bus.SubscribeOption value.*missing method applySubscribe`
	orders.Subscribe(b, "c", onOrder, bus.At(time.Now()))      // want `as bus.SubscribeOption value.*missing method applySubscribe`
	orders.Subscribe(b, "d", onOrder, bus.Grace(time.Second))  // want `as bus.SubscribeOption value.*missing method applySubscribe`
	orders.Subscribe(b, "e", onOrder, bus.Logger(nil))         // want `as bus.SubscribeOption value.*missing method applySubscribe`
	orders.Subscribe(b, "f", onOrder, bus.UseSend())           // want `as bus.SubscribeOption value.*missing method applySubscribe`
	orders.Subscribe(b, "g", onOrder, bus.MaxBytes(1))         // want `as bus.SubscribeOption value.*missing method applySubscribe`
	orders.Subscribe(b, "h", onOrder, bus.Latest)              // want `as bus.SubscribeOption value.*missing method applySubscribe`
	orders.Subscribe(b, "i", onOrder, bus.Start(bus.Delay(1))) // want `as bus.Position value.*missing method position`
	orders.Subscribe(b, "j", onOrder, bus.Use(audited[Order])) // want `cannot use audited.* as bus.Middleware value`
}
