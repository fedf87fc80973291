package transporttest

import (
	"context"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// retopic makes a fault of Publish from a function that changes the topic.
func retopic(change func(t *transport.Topic)) func(*broken, context.Context, transport.Topic, messagesOf) error {
	return func(b *broken, ctx context.Context, t transport.Topic, ms messagesOf) error {
		change(&t)
		return b.Transport.Publish(ctx, t, ms)
	}
}

var dedupFaults = []fault{
	{
		name: "knows no ids", caught: "dedup-not-stored-again dedup-long-ids dedup-remembers dedup-delayed dedup-window",
		publish: retopic(func(t *transport.Topic) { t.Dedup = 0 }),
	},
	{
		name: "calls not stored what too few replicas have", caught: "durable-stored",
		publish: func(b *broken, ctx context.Context, t transport.Topic, ms messagesOf) error {
			if err := b.Transport.Publish(ctx, t, ms); err != nil || t.Durable.Replicas == 0 {
				return err
			}
			short := &transport.DurabilityError{Want: t.Durable.Replicas}
			return &transport.PublishError{Topic: t.Name, Outcomes: make([]transport.Outcome, len(ms)), Err: short}
		},
	},
	{
		name: "knows ids for ever", caught: "dedup-ends dedup-window",
		publish: retopic(func(t *transport.Topic) { t.Dedup = 100 * 24 * time.Hour }),
	},
	{
		name: "stores nothing that it knows", caught: "dedup-not-of-staged",
		settle: resettle(func(st *transport.Settlement) { st.Stage = nil }),
	},
}
