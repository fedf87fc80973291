package rivals

import (
	"context"
	"time"

	"github.com/typedbus/typedbus/bench/contest"
	"github.com/typedbus/typedbus/bench/contest/eventpb"
	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/codec/protobuf"
	"github.com/typedbus/typedbus/transport/redisstream"
)

func typedBusMsgPack() contest.Rival {
	return contest.Rival{Name: "typedbus-msgpack", How: "as typedbus, with codec.MsgPack", Open: onRedis(codec.MsgPack[contest.Event]())}
}

func typedBusProtobuf() contest.Rival {
	return contest.Rival{
		Name: "typedbus-protobuf",
		How:  "as typedbus, with protobuf.Of; the events are made of, and into, messages of their own",
		Open: func(ctx context.Context, s contest.Setup) (contest.Session, error) {
			tr, err := redisstream.Open(ctx, "redis://"+s.Redis, redisstream.Options{})
			if err != nil {
				return nil, err
			}
			p := &protobufSession{subscriptions: subscriptions{app: newApp(tr, s), concurrency: s.Concurrency}}
			p.topic = bus.NewTopic(s.Topic, protobuf.Of[*eventpb.Event]()).KeyedBy((*eventpb.Event).GetCustomer)
			return p, nil
		},
	}
}

type protobufSession struct {
	subscriptions
	topic *bus.Topic[*eventpb.Event]
}

// Publish implements [contest.Session].
func (p *protobufSession) Publish(ctx context.Context, e *contest.Event) error {
	return p.topic.Publish(ctx, p.bus, &eventpb.Event{
		Id: e.ID, Customer: e.Customer, Cents: e.Cents, PlacedUnixNano: e.Placed.UnixNano(), Items: e.Items, Express: e.Express,
	})
}

// Consume implements [contest.Session].
func (p *protobufSession) Consume(ctx context.Context, handle func(*contest.Event)) error {
	p.topic.Subscribe(p.bus, group, func(_ context.Context, e *bus.Event[*eventpb.Event]) error {
		m := e.Payload
		handle(&contest.Event{
			ID: m.Id, Customer: m.Customer, Cents: m.Cents, Placed: time.Unix(0, m.PlacedUnixNano).UTC(), Items: m.Items, Express: m.Express,
		})
		return nil
	}, p.options()...)
	return p.run(ctx)
}
