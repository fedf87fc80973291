package transporttest

import (
	"context"
	"slices"

	"github.com/typedbus/typedbus/transport"
)

var groupFaults = []fault{
	{
		name: "begins every group at the end", caught: "subscribe-creates start-earliest start-time start-id",
		join: func(_ *transport.Topic, g *transport.Group) { g.Start = transport.Start{Latest: true} },
	},
	{
		name: "begins every group at the beginning", caught: "start-latest start-time start-id",
		join: func(_ *transport.Topic, g *transport.Group) { g.Start = transport.Start{} },
	},
	{
		name: "begins latest at the end of an empty topic", caught: "start-latest-new-topic",
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			for {
				ds, err := s.Subscription.Receive(ctx, limit)
				if ds = slices.DeleteFunc(ds, func(d *transport.Delivery) bool { return string(d.Body) == "first of all" }); err != nil || len(ds) > 0 {
					return ds, err
				}
			}
		},
	},
	{
		name: "makes the group anew for each consumer", caught: "group-goes-on group-shares settle-done close-releases",
		join: func() func(*transport.Topic, *transport.Group) {
			return func(_ *transport.Topic, g *transport.Group) { g.Name = "x" + transport.NewID() }
		}(),
	},
	{
		name: "has one group for all", caught: "group-every-message group-unaffected stage-own-topic",
		join: func(_ *transport.Topic, g *transport.Group) { g.Name = "one" },
	},
	{
		name: "has one topic for all", caught: "topic-apart",
		join: func(t *transport.Topic, _ *transport.Group) { t.Name = "one" },
		publish: func(b *broken, ctx context.Context, t transport.Topic, ms messagesOf) error {
			t.Name = "one"
			return b.Transport.Publish(ctx, t, ms)
		},
	},
}
