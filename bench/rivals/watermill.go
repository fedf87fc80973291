package rivals

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/bench/contest"
)

// watermill has one subscription, as every rival has one consumer. It reads one entry at a time and acknowledges it before the next.
//
// Tried without gain: its Router, pools of 8 and 64 connections, RESP2, other buffers and block times, made-up UUIDs. go-redis'
// AutoPipeline as its client, experimental and in no page of Watermill's, makes many subscriptions 1.6 times as fast.
func watermill() contest.Rival {
	return contest.Rival{
		Name: "watermill",
		How: "watermill-redisstream: one subscription in a consumer group, a plain loop without the Router, JSON, no logging, " +
			"a client each for publisher and subscriber; https://watermill.io/pubsubs/redisstream/",
		Open: func(ctx context.Context, s contest.Setup) (contest.Session, error) { return openWatermill(ctx, s, 1) },
	}
}

// manyWatermills is Watermill with as many subscriptions as make it fastest: 1 handled 10,200 events/s, 4 19,500, 8 21,300,
// 16 23,600, 32 23,900, 64 21,800, 128 21,500.
func manyWatermills() contest.Rival {
	r := watermill()
	r.Name = "watermill-32"
	r.How = "as watermill, with 32 subscriptions in the consumer group; https://watermill.io/docs/messages-router/ (execution models)"
	r.Open = func(ctx context.Context, s contest.Setup) (contest.Session, error) { return openWatermill(ctx, s, 32) }
	return r
}

type watermillSession struct {
	topic         string
	subscriptions int
	pub           *redisstream.Publisher
	sub           *redisstream.Subscriber
	redis         *redis.Client // for looking from outside

	stop  context.CancelFunc
	ended sync.WaitGroup
}

func openWatermill(_ context.Context, s contest.Setup, subscriptions int) (contest.Session, error) {
	connect := func(pool int) *redis.Client { return redis.NewClient(&redis.Options{Addr: s.Redis, PoolSize: pool}) }
	w := &watermillSession{topic: s.Topic, subscriptions: s.Concurrency, redis: connect(1)}
	if w.subscriptions == 0 {
		w.subscriptions = subscriptions
	}
	var err error
	if w.pub, err = redisstream.NewPublisher(redisstream.PublisherConfig{Client: connect(0)}, wm.NopLogger{}); err != nil {
		return nil, err
	}
	w.sub, err = redisstream.NewSubscriber(redisstream.SubscriberConfig{
		// A subscription has a connection for its blocked read, and one for its acknowledgements.
		Client:                        connect(2*w.subscriptions + 4),
		ConsumerGroup:                 group,
		DisableIndefiniteInitialBlock: true, // else it cannot be closed before the first event
	}, wm.NopLogger{})
	return w, err
}

// Publish implements [contest.Session]. Watermill needs no UUID of its own: the event has one.
func (w *watermillSession) Publish(ctx context.Context, e *contest.Event) error {
	m := message.NewMessage(e.ID, contest.Encoded(e))
	m.SetContext(ctx)
	return w.pub.Publish(w.topic, m)
}

// Consume implements [contest.Session].
func (w *watermillSession) Consume(ctx context.Context, handle func(*contest.Event)) error {
	ctx, w.stop = context.WithCancel(ctx)
	for range w.subscriptions {
		messages, err := w.sub.Subscribe(ctx, w.topic)
		if err != nil {
			return err
		}
		w.ended.Go(func() { each(messages, handle) })
	}
	return nil
}

func each(messages <-chan *message.Message, handle func(*contest.Event)) {
	for m := range messages {
		if err := handleJSON(m.Payload, handle); err != nil {
			m.Nack()
			continue
		}
		m.Ack()
	}
}

// handleJSON is what a handler of a rival does that carries bytes and is given events.
func handleJSON(body []byte, handle func(*contest.Event)) error {
	var e contest.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return err
	}
	handle(&e)
	return nil
}

// Settled implements [contest.Session].
func (w *watermillSession) Settled(ctx context.Context) (int64, error) {
	return settledIn(ctx, w.redis, w.topic)
}

// Close implements [contest.Session]. Watermill closes the clients it was given.
func (w *watermillSession) Close() error {
	if w.stop != nil {
		w.stop()
		w.ended.Wait()
	}
	return errors.Join(w.sub.Close(), w.pub.Close(), w.redis.Close())
}
