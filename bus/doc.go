// Package bus publishes and handles typed events.
//
// A [Topic] is a name and a codec for one Go type, declared once as a package variable. A handler is a function, and what it
// returns is what happens to the event. A [Bus] joins topics, handlers and a transport, runs until its context ends, and
// drains.
//
//	var OrderPlaced = bus.NewTopic("orders.placed", codec.JSON[Order]())
//
//	OrderPlaced.Subscribe(b, "billing", charge)        // func charge(ctx context.Context, e *bus.Event[Order]) error
//	err := OrderPlaced.Publish(ctx, b, Order{ID: "42"})
//	err = b.Run(ctx)
//
// # What a handler returns
//
//	nil                       the event is handled
//	an error                  it is delivered again after the back-off of Redeliver; an attempt is counted
//	Snooze(d, err)            it is delivered again after d; no attempt is counted
//	Pause(d, err)             the same, and the subscription stops receiving for d and then probes with one event
//	Permanent(err)            trying again is useless: dead-lettered if routed, else kept and tried at the longest back-off
//	DeadLetter(reason, err)   it is moved to the group's dead letters, together with its acknowledgement
//
// All of them wrap err and may be wrapped themselves; the outermost counts. A panic is an error. There is no Ack and no Nack:
// what cannot be said cannot be forgotten or said twice.
//
// Delivery is at least once: a process that dies between the effect of a handler and its acknowledgement leads to a second
// delivery. What is published through the event, with the event as the [Publisher], is stored in the same atomic step as the
// acknowledgement, so inside the broker it happens exactly once.
//
// # Middleware
//
// [Use] wraps handlers before decoding, where everything is headers and bytes; [Wrap] wraps a typed handler; [UseSend] wraps
// publishing. The chain of a subscription, outermost first:
//
//	Use of the bus > Use of the subscription > decoding > Wrap > handler
//
// Package middleware has what most services want, in the recommended order. [Bus.Explain] prints what was declared. For those
// who write their own there are [VerdictOf], [CutShort], [Delivery.WithMessage], [Delivery.Draining] and [Delivery.OnSettled].
//
// # Mistakes
//
// Declarations return no error. A bad name, a nil handler, a second subscription of the same group are reported by
// [Topic.Publish] and, all of them at once, by [Bus.Run] before anything starts.
package bus
