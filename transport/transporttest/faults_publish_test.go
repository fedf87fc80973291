package transporttest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/typedbus/typedbus/transport"
)

var publishFaults = []fault{
	{
		name: "loses one message in seven", caught: "publish-order group-every-message many-publishers-and-consumers receive-forgets-nothing soft-keeps-without-groups",
		publish: func() func(*broken, context.Context, transport.Topic, messagesOf) error {
			lose := every(7)
			return republish(func(ms messagesOf) messagesOf {
				return slices.DeleteFunc(ms, func(*transport.Message) bool { return lose() })
			})
		}(),
	},
	{
		name: "doubles one message in seven", caught: "publish-order many-publishers-and-consumers receive-forgets-nothing",
		publish: func() func(*broken, context.Context, transport.Topic, messagesOf) error {
			double := every(7)
			return republish(func(ms messagesOf) (twice messagesOf) {
				for _, m := range ms {
					if twice = append(twice, m); double() {
						twice = append(twice, m)
					}
				}
				return twice
			})
		}(),
	},
	{
		name: "reorders a batch", caught: "publish-order delay-past",
		publish: republish(func(ms messagesOf) messagesOf { slices.Reverse(ms); return ms }),
	},
	{
		name: "delivers delayed messages at once", caught: "delay-not-early message-time-delayed",
		publish: republish(func(ms messagesOf) messagesOf {
			for _, m := range ms {
				m.NotBefore = time.Time{}
			}
			return ms
		}),
	},
	{
		name: "forgets delayed messages when the publisher closes", caught: "delay-stored-at-once delay-every-group",
		publish: republish(func(ms messagesOf) messagesOf {
			return slices.DeleteFunc(ms, func(m *transport.Message) bool { return !m.NotBefore.IsZero() })
		}),
	},
	{
		name: "stages ahead of time", caught: "stage-delayed",
		settle: resettle(func(st *transport.Settlement) {
			st.Stage = slices.Clone(st.Stage)
			for i := range st.Stage {
				st.Stage[i].Message = st.Stage[i].Clone()
				st.Stage[i].NotBefore = time.Time{}
			}
		}),
	},
	{
		name: "keeps the caller's messages", caught: "publish-keeps-nothing stage-keeps-nothing message-own-copy letter-as-stored",
		publish: func(b *broken, ctx context.Context, t transport.Topic, ms messagesOf) error {
			for _, m := range ms {
				kept.keep(m)
			}
			return b.Transport.Publish(ctx, t, ms)
		},
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			for _, st := range ss {
				for _, m := range st.Stage {
					kept.keep(m.Message)
				}
			}
			return s.Subscription.Settle(ctx, ss)
		},
		receive: rereceive(func(d *transport.Delivery) {
			if m := kept.find(d.ID); m != nil {
				d.Message = m
			}
		}),
		letters: func(ls []*transport.Letter) []*transport.Letter {
			for _, l := range ls {
				if m := kept.find(l.ID); m != nil {
					l.Message = m
				}
			}
			return ls
		},
	},
	{
		name: "publishes after Close", caught: "publish-closed subscribe-closed",
		end: func(*broken) error { return nil },
	},
	{
		name: "returns a plain error from Publish", caught: "publish-outcomes outage-unknown",
		publish: func(b *broken, ctx context.Context, t transport.Topic, ms messagesOf) error {
			if err := b.Transport.Publish(ctx, t, ms); err != nil {
				return errors.New("did not work")
			}
			return nil
		},
	},
	{
		name: "says not stored, and stores", caught: "publish-outcomes-true outage-publish",
		publish: func(b *broken, ctx context.Context, t transport.Topic, ms messagesOf) error {
			err := b.Transport.Publish(ctx, t, ms)
			if err == nil {
				return nil
			}
			go func() {
				for range 10 {
					if b.Transport.Publish(context.WithoutCancel(ctx), t, ms) == nil {
						return
					}
					<-time.After(time.Second)
				}
			}()
			return err
		},
	},
	{
		name: "calls unknown what it knows", caught: "outage-unknown",
		publish: func(b *broken, ctx context.Context, t transport.Topic, ms messagesOf) error {
			err := b.Transport.Publish(ctx, t, ms)
			if pe := (*transport.PublishError)(nil); errors.As(err, &pe) {
				pe.Outcomes = slices.Repeat([]transport.Outcome{transport.Unknown}, len(ms))
				return vague{pe}
			}
			return err
		},
	},
}

var messageFaults = []fault{
	{
		name: "drops headers, key and type", caught: "message-whole message-headers letter-as-stored",
		receive: rereceive(func(d *transport.Delivery) { d.Headers, d.Key = nil, "" }),
		letters: func(ls []*transport.Letter) []*transport.Letter {
			for _, l := range ls {
				l.Headers = nil
			}
			return ls
		},
	},
	{
		name: "adds a header twice", caught: "message-header-once",
		receive: rereceive(func(d *transport.Delivery) { d.Headers = append(slices.Clone(d.Headers), d.Headers...) }),
	},
	{
		name: "adds headers of its own", caught: "message-headers message-whole",
		receive: rereceive(func(d *transport.Delivery) { d.Headers.Set("x-internal", "1") }),
	},
	{
		name: "makes a new id at each delivery", caught: "message-id replay-own-group",
		receive: rereceive(func(d *transport.Delivery) { d.ID = transport.NewID() }),
	},
	{
		name: "leaves the delay in", caught: "delay-not-kept",
		receive: rereceive(func(d *transport.Delivery) { d.NotBefore = d.Time }),
	},
	{
		name: "takes the publisher's time", caught: "message-time-set message-time",
		receive: rereceive(func(d *transport.Delivery) { d.Time = time.Now().Add(-time.Hour) }),
	},
	{
		name: "sets the time at each delivery", caught: "message-time",
		receive: rereceive(func(d *transport.Delivery) { d.Time = time.Now() }),
	},
}

// A vague error is a PublishError that does not know its own outcomes.
type vague struct{ *transport.PublishError }

func (v vague) Unwrap() []error { return []error{v.Err} }

func (v vague) As(target any) bool {
	pe, ok := target.(**transport.PublishError)
	if ok {
		*pe = v.PublishError
	}
	return ok
}
