package rivals

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/bench/contest"
)

// rawBatches is the ceiling: what go-redis can do when somebody writes it all by hand, and gives up retries, leases, dead
// letters and a drain.
func rawBatches() contest.Rival {
	return contest.Rival{
		Name: "raw",
		How:  "go-redis by hand: pipelines of 200 XADD with the same four fields; one loop with XREADGROUP COUNT 1000 and the XACK of the last read in one pipeline; bytes",
		Open: func(ctx context.Context, s contest.Setup) (contest.Session, error) { return newRaw(ctx, s, false) },
	}
}

// rawSingle is what people write first.
func rawSingle() contest.Rival {
	return contest.Rival{
		Name: "raw-single",
		How:  "go-redis by hand: an XADD for each event, JSON; one loop with a blocked XREADGROUP, then XACK",
		Open: func(ctx context.Context, s contest.Setup) (contest.Session, error) { return newRaw(ctx, s, true) },
	}
}

type raw struct {
	client *redis.Client
	stream string
	body   []byte
	single bool // one by one
	json   bool // the event, and not body

	stop  context.CancelFunc
	ended sync.WaitGroup
	err   atomic.Pointer[error]
}

func newRaw(ctx context.Context, s contest.Setup, single bool) (*raw, error) {
	r := &raw{client: redis.NewClient(&redis.Options{Addr: s.Redis, PoolSize: max(s.Publishers, 1) + 10}), stream: s.Topic, body: bodyOf(s)}
	r.single, r.json = single, single && s.Body == 0
	return r, r.client.XGroupCreateMkStream(ctx, r.stream, group, "0").Err()
}

func (r *raw) args(e *contest.Event) *redis.XAddArgs {
	body := r.body
	if r.json {
		body = contest.Encoded(e)
	}
	return &redis.XAddArgs{Stream: r.stream, Values: []any{"id", uuid.Must(uuid.NewV7()).String(), "ct", "application/json", "key", e.Customer, "data", body}}
}

// Publish implements [contest.Session].
func (r *raw) Publish(ctx context.Context, e *contest.Event) error {
	return r.client.XAdd(ctx, r.args(e)).Err()
}

// PublishAll implements [contest.BatchPublisher].
func (r *raw) PublishAll(ctx context.Context, es []*contest.Event) error {
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, e := range es {
			p.XAdd(ctx, r.args(e))
		}
		return nil
	})
	return err
}

// Consume implements [contest.Session].
func (r *raw) Consume(ctx context.Context, handle func(*contest.Event)) error {
	ctx, r.stop = context.WithCancel(ctx)
	loop := r.pipelined
	if r.single {
		loop = r.oneByOne
	}
	r.ended.Go(func() {
		if err := loop(ctx, handle); err != nil && ctx.Err() == nil {
			r.err.Store(&err)
		}
	})
	return nil
}

// pipelined acknowledges what it has handled in the same round trip that reads more.
func (r *raw) pipelined(ctx context.Context, handle func(*contest.Event)) error {
	var done []string
	for ctx.Err() == nil {
		p := r.client.Pipeline()
		if len(done) > 0 {
			p.XAck(ctx, r.stream, group, done...)
		}
		read := r.read(ctx, p, 1000)
		if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		done = done[:0]
		for _, s := range read.Val() {
			for _, m := range s.Messages {
				if _, ok := m.Values["data"].(string); !ok {
					return fmt.Errorf("entry %s has no data", m.ID)
				}
				handle(anEvent)
				done = append(done, m.ID)
			}
		}
	}
	return nil
}

func (r *raw) read(ctx context.Context, c redis.Cmdable, count int64) *redis.XStreamSliceCmd {
	return c.XReadGroup(ctx, &redis.XReadGroupArgs{Group: group, Consumer: "one", Streams: []string{r.stream, ">"}, Count: count, Block: 100 * time.Millisecond})
}

func (r *raw) oneByOne(ctx context.Context, handle func(*contest.Event)) error {
	for ctx.Err() == nil {
		streams, err := r.read(ctx, r.client, 100).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return err
		}
		var done []string
		for _, m := range streams[0].Messages {
			if err := r.handle(m.Values["data"].(string), handle); err != nil {
				return err
			}
			done = append(done, m.ID)
		}
		if err := r.client.XAck(ctx, r.stream, group, done...).Err(); err != nil {
			return err
		}
	}
	return nil
}

func (r *raw) handle(body string, handle func(*contest.Event)) error {
	if r.json {
		return handleJSON([]byte(body), handle)
	}
	handle(anEvent)
	return nil
}

// Settled implements [contest.Session].
func (r *raw) Settled(ctx context.Context) (int64, error) {
	if err := r.err.Load(); err != nil {
		return 0, *err
	}
	return settledIn(ctx, r.client, r.stream)
}

// Close implements [contest.Session].
func (r *raw) Close() error {
	if r.stop != nil {
		r.stop()
		r.ended.Wait()
	}
	return r.client.Close()
}

// autoPipeline is go-redis' own way to put commands of many goroutines into one pipeline.
func autoPipeline() contest.Rival {
	return contest.Rival{
		Name: "raw-autopipeline",
		How:  "go-redis: XADD through Client.AutoPipeline with its default options; bytes; publishing only",
		Open: func(ctx context.Context, s contest.Setup) (contest.Session, error) {
			r, err := newRaw(ctx, s, false)
			if err != nil {
				return nil, err
			}
			pipe, err := r.client.AutoPipeline()
			return &autoPiped{r, pipe}, err
		},
	}
}

type autoPiped struct {
	*raw
	pipe *redis.AutoPipeliner
}

// Publish implements [contest.Session].
func (a *autoPiped) Publish(ctx context.Context, e *contest.Event) error {
	return a.pipe.XAdd(ctx, a.args(e)).Err()
}
