package rivals

import (
	"context"
	"sync"
	"sync/atomic"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/typedbus/typedbus/bench/contest"
)

// goChannel is Watermill in memory. Nothing is encoded: each message has the same bytes. Its Publish starts two goroutines a message
// and fewer of them wait if it waits for the acknowledgement: faster than a buffer, unless handlers take time.
//
// Tried without gain: buffers of 0 to 10000, 2 to 64 loops, contexts of its own.
func goChannel() contest.Rival {
	return contest.Rival{
		Name: "gochannel",
		How: "Watermill's GoChannel: not persistent, publishers' contexts preserved, Publish waits for the acknowledgement (where " +
			"handlers run side by side: a buffered channel), bytes made once, no logging; https://watermill.io/pubsubs/gochannel/",
		Open: func(_ context.Context, s contest.Setup) (contest.Session, error) { return newGoChannel(s), nil },
	}
}

type goChannelSession struct {
	topic       string
	concurrency int
	body        []byte
	pubSub      *gochannel.GoChannel

	acked atomic.Int64
	stop  context.CancelFunc
	ended sync.WaitGroup
}

func newGoChannel(s contest.Setup) *goChannelSession {
	g := &goChannelSession{topic: s.Topic, concurrency: max(s.Concurrency, 1), body: bodyOf(s)}
	g.pubSub = gochannel.NewGoChannel(gochannel.Config{
		OutputChannelBuffer:            10_000,
		PreserveContext:                true,
		BlockPublishUntilSubscriberAck: g.concurrency == 1,
	}, wm.NopLogger{})
	return g
}

// Publish implements [contest.Session].
func (g *goChannelSession) Publish(ctx context.Context, e *contest.Event) error {
	m := message.NewMessage(e.ID, g.body)
	m.SetContext(ctx)
	return g.pubSub.Publish(g.topic, m)
}

// Consume implements [contest.Session].
func (g *goChannelSession) Consume(ctx context.Context, handle func(*contest.Event)) error {
	ctx, g.stop = context.WithCancel(ctx)
	messages, err := g.pubSub.Subscribe(ctx, g.topic)
	if err != nil {
		return err
	}
	for range g.concurrency {
		g.ended.Go(func() {
			for m := range messages {
				handle(anEvent)
				if m.Ack() {
					g.acked.Add(1)
				}
			}
		})
	}
	return nil
}

// Settled implements [contest.Session]. GoChannel does not say: it is what was acknowledged in time.
func (g *goChannelSession) Settled(context.Context) (int64, error) { return g.acked.Load(), nil }

// Close implements [contest.Session].
func (g *goChannelSession) Close() error {
	if g.stop != nil {
		g.stop()
	}
	err := g.pubSub.Close()
	g.ended.Wait()
	return err
}
