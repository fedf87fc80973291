package rivals

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/typedbus/typedbus/bench/contest"
)

// natsFile has its server in this process, and its stream in files. From 64 goroutines a future each costs less than Publish does.
//
// Tried without gain: TCP, one connection for all or several for publishers, 20, 50 or 500 to 5000 messages a pull, several Consume,
// MaxAckPending of 1000, a work-queue stream. AsyncPersistMode, which acknowledges before the file is written, is 1.2 times as fast.
func natsFile() contest.Rival {
	return contest.Rival{
		Name: "nats-file",
		How: "NATS JetStream embedded, connections in process, file store, default sync: PublishAsync and its future awaited, JSON, " +
			"a durable pull consumer with explicit acks, no bound on unacknowledged ones, Consume of 100 a pull; " +
			"https://github.com/nats-io/nats.go/blob/main/jetstream/README.md",
		Open: openNATS,
	}
}

const natsSubject = "events"

type natsSession struct {
	server      *server.Server
	concurrency int
	conns       [2]*nats.Conn
	js          jetstream.JetStream
	consumer    jetstream.Consumer

	consuming jetstream.ConsumeContext
	handlers  sync.WaitGroup
}

func openNATS(ctx context.Context, s contest.Setup) (contest.Session, error) {
	n := &natsSession{concurrency: max(s.Concurrency, 1)}
	if err := n.open(ctx, s.Dir); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *natsSession) open(ctx context.Context, dir string) (err error) {
	n.server, err = server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		return err
	}
	n.server.Start()
	if !n.server.ReadyForConnections(10 * time.Second) {
		return errors.New("the NATS server does not start")
	}
	for i := range n.conns {
		if n.conns[i], err = nats.Connect("", nats.InProcessServer(n.server)); err != nil {
			return err
		}
	}
	if n.js, err = jetstream.New(n.conns[0]); err != nil {
		return err
	}
	return n.createStream(ctx)
}

// createStream has the consumer on a connection of its own.
func (n *natsSession) createStream(ctx context.Context) error {
	js, err := jetstream.New(n.conns[1])
	if err != nil {
		return err
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name:     "EVENTS",
		Subjects: []string{natsSubject},
		Storage:  jetstream.FileStorage,
	})
	if err != nil {
		return err
	}
	n.consumer, err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       group,
		AckPolicy:     jetstream.AckExplicitPolicy,
		MaxAckPending: -1,
	})
	return err
}

// Publish implements [contest.Session].
func (n *natsSession) Publish(ctx context.Context, e *contest.Event) error {
	stored, err := n.js.PublishAsync(natsSubject, contest.Encoded(e))
	if err != nil {
		return err
	}
	select {
	case <-stored.Ok():
		return nil
	case err := <-stored.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Consume implements [contest.Session].
func (n *natsSession) Consume(_ context.Context, handle func(*contest.Event)) (err error) {
	one := func(m jetstream.Msg) {
		if err := handleJSON(m.Data(), handle); err != nil {
			_ = m.Nak()
			return
		}
		_ = m.Ack() // one that gets lost is missing in Settled
	}
	if n.concurrency > 1 {
		one = n.sideBySide(one)
	}
	n.consuming, err = n.consumer.Consume(one, jetstream.PullMaxMessages(100))
	return err
}

// sideBySide has up to n.concurrency messages handled at a time: Consume by itself does one after the other.
func (n *natsSession) sideBySide(one jetstream.MessageHandler) jetstream.MessageHandler {
	free := make(chan struct{}, n.concurrency)
	return func(m jetstream.Msg) {
		free <- struct{}{}
		n.handlers.Go(func() {
			one(m)
			<-free
		})
	}
}

// Settled implements [contest.Session].
func (n *natsSession) Settled(ctx context.Context) (int64, error) {
	info, err := n.consumer.Info(ctx)
	if err != nil {
		return 0, err
	}
	return int64(info.AckFloor.Stream), nil
}

// Close implements [contest.Session].
func (n *natsSession) Close() error {
	if n.consuming != nil {
		n.consuming.Stop()
		<-n.consuming.Closed()
		n.handlers.Wait()
	}
	for _, c := range n.conns {
		if c != nil {
			c.Close()
		}
	}
	if n.server != nil {
		n.server.Shutdown()
		n.server.WaitForShutdown()
	}
	return nil
}
