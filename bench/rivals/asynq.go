package rivals

import (
	"context"
	"errors"
	"time"

	"github.com/hibiken/asynq"

	"github.com/typedbus/typedbus/bench/contest"
)

// asynqTasks has one server, as every rival has one consumer. It fetches with one goroutine, one task a round trip.
//
// Tried without gain: 10 to 256 workers, intervals of 1 to 50 ms (1 s, its default, halves the speed), larger pools, no mux,
// uuid.EnableRandPool.
func asynqTasks() contest.Rival {
	return contest.Rival{
		Name: "asynq",
		How: "asynq: Enqueue of one task an event, JSON, a server with 64 workers, a look for tasks every 10 ms, log level fatal, no retention; " +
			"https://pkg.go.dev/github.com/hibiken/asynq#Config",
		Open: func(ctx context.Context, s contest.Setup) (contest.Session, error) { return openAsynq(ctx, s, 1) },
	}
}

// manyAsynqs is asynq with as many servers as make it fastest: 1 handled up to 11,000 events/s, 2 14,000, 4 16,500, 6 15,400.
func manyAsynqs() contest.Rival {
	r := asynqTasks()
	r.Name = "asynq-4"
	r.How = "as asynq, with 4 servers of 16 workers on the queue; https://github.com/hibiken/asynq/issues/332"
	r.Open = func(ctx context.Context, s contest.Setup) (contest.Session, error) { return openAsynq(ctx, s, 4) }
	return r
}

type asynqSession struct {
	queue       string
	most        int // servers
	concurrency int
	redis       asynq.RedisClientOpt
	client      *asynq.Client
	inspector   *asynq.Inspector
	servers     []*asynq.Server
}

func openAsynq(_ context.Context, s contest.Setup, servers int) (contest.Session, error) {
	a := &asynqSession{queue: s.Topic, most: servers, concurrency: s.Concurrency, redis: asynq.RedisClientOpt{Addr: s.Redis}}
	if a.concurrency == 0 {
		a.concurrency = 64
	}
	a.client = asynq.NewClient(a.redis)
	a.inspector = asynq.NewInspector(a.redis)
	return a, nil
}

const asynqType = "order"

// Publish implements [contest.Session].
func (a *asynqSession) Publish(ctx context.Context, e *contest.Event) error {
	_, err := a.client.EnqueueContext(ctx, asynq.NewTask(asynqType, contest.Encoded(e)), asynq.Queue(a.queue))
	return err
}

// Consume implements [contest.Session].
func (a *asynqSession) Consume(_ context.Context, handle func(*contest.Event)) error {
	mux := asynq.NewServeMux()
	mux.HandleFunc(asynqType, func(_ context.Context, t *asynq.Task) error { return handleJSON(t.Payload(), handle) })
	n := min(a.most, a.concurrency)
	for i := range n {
		srv := asynq.NewServer(a.redis, asynq.Config{
			Concurrency:       (a.concurrency + i) / n, // they add up
			Queues:            map[string]int{a.queue: 1},
			TaskCheckInterval: 10 * time.Millisecond,
			LogLevel:          asynq.FatalLevel,
		})
		if err := srv.Start(mux); err != nil {
			return err
		}
		a.servers = append(a.servers, srv)
	}
	return nil
}

// Settled implements [contest.Session]: what asynq has counted in Redis as processed, in the script that removes the task.
func (a *asynqSession) Settled(context.Context) (int64, error) {
	q, err := a.inspector.GetQueueInfo(a.queue)
	if err != nil {
		return 0, err
	}
	return int64(q.ProcessedTotal), nil
}

// Close implements [contest.Session].
func (a *asynqSession) Close() error {
	for _, srv := range a.servers {
		srv.Shutdown()
	}
	return errors.Join(a.client.Close(), a.inspector.Close())
}
