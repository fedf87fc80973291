package rivals

import (
	"context"
	"errors"
	"time"

	"github.com/hibiken/asynq"

	"github.com/typedbus/typedbus/bench/contest"
)

// asynqTasks runs several servers, as each of them fetches with one goroutine, one task a round trip.
//
// Tried without gain: 1, 2, 6 or 8 servers, 10 to 256 workers, 1, 2, 5, 50 or 1000 ms, larger pools, no mux, uuid.EnableRandPool.
func asynqTasks() contest.Rival {
	return contest.Rival{
		Name: "asynq",
		How: "asynq: Enqueue of one task an event, JSON, 4 servers on one queue with 16 workers each, a look for tasks every 10 ms, " +
			"log level fatal, no retention; https://github.com/hibiken/asynq/issues/332 (servers) and /pull/694 (interval)",
		Open: openAsynq,
	}
}

type asynqSession struct {
	queue       string
	concurrency int
	redis       asynq.RedisClientOpt
	client      *asynq.Client
	inspector   *asynq.Inspector
	servers     []*asynq.Server
}

const asynqServers = 4

func openAsynq(_ context.Context, s contest.Setup) (contest.Session, error) {
	a := &asynqSession{queue: s.Topic, concurrency: s.Concurrency, redis: asynq.RedisClientOpt{Addr: s.Redis}}
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
	n := min(asynqServers, a.concurrency)
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
