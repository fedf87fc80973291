package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/bench/contest"
)

// stored is what an entry takes in Redis.
func stored(ctx context.Context, r round) error {
	const n = 10_000
	bytes := map[string]float64{}
	for _, rival := range []string{"typedbus", "raw-single"} {
		sp, err := r.prepare(ctx, spec{Do: "fill", Rival: rival, Publishers: 16, Batch: 1, Events: n})
		if err != nil {
			return err
		}
		if _, err := r.again(ctx, sp); err != nil {
			return err
		}
		used, err := r.MemoryUsage(ctx, sp.Setup.Topic, 0).Result()
		if err != nil {
			return err
		}
		length, err := r.XLen(ctx, sp.Setup.Topic).Result()
		if err != nil {
			return err
		}
		bytes[rival] = float64(used) / float64(length)
		r.say("%-12s %.1f bytes an entry", rival, bytes[rival])
		r.figure(rival+".entry_bytes", bytes[rival])
	}
	r.ratio("redis_bytes_vs_raw", bytes["typedbus"]/bytes["raw-single"])
	return nil
}

// backlog drains what has waited.
func backlog(ctx context.Context, r round) error {
	sp, err := r.prepare(ctx, spec{Do: "fill", Rival: "typedbus-bytes", Publishers: 2, Batch: 200, Events: r.scale.backlog})
	if err != nil {
		return err
	}
	if _, err := r.again(ctx, sp); err != nil {
		return err
	}
	sp.Do = "drain"
	o, err := r.again(ctx, sp)
	if err != nil {
		return err
	}
	first, last, rss := o.Tenths[0], o.Tenths[9], float64(o.Peak)/(1<<20)
	r.say("%d events: first tenth %.0f events/s, last %.0f; %.0f MiB", sp.Events, first, last, rss)
	r.ratio("backlog_flatness", last/first)
	r.ratio("backlog_rss_mib", rss)
	r.figure("typedbus-bytes.backlog_per_second", median(o.Tenths))
	return nil
}

// pending is with events that a dead consumer holds.
func pending(ctx context.Context, r round) error {
	const dead = 100_000
	without, err := r.measure(ctx, r.oneByOne("typedbus"))
	if err != nil {
		return err
	}
	sp, err := r.prepare(ctx, r.oneByOne("typedbus"))
	if err == nil {
		err = r.strand(ctx, sp.Setup.Topic, dead)
	}
	if err != nil {
		return err
	}
	with, err := r.again(ctx, sp)
	if err != nil {
		return err
	}
	r.say("%.0f events/s without, %.0f with %d pending", without.PerSecond, with.PerSecond, dead)
	r.ratio("pending_flatness", with.PerSecond/without.PerSecond)
	return nil
}

// strand has a consumer take n events and never be heard of again.
func (s *suite) strand(ctx context.Context, stream string, n int) error {
	if err := s.XGroupCreateMkStream(ctx, stream, "bench", "0").Err(); err != nil {
		return err
	}
	body := contest.Encoded(contest.NewEvent(1))
	for done := 0; done < n; done += 1000 {
		_, err := s.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range 1000 {
				p.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: []any{"id", fmt.Sprint(done + i), "ct", "application/json", "data", body}})
			}
			p.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "bench", Consumer: "dead", Streams: []string{stream, ">"}, Count: 1000, Block: -1})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// consumers is one process against four, on one group.
func consumers(ctx context.Context, r round) error {
	perSecond := map[int]float64{}
	for _, n := range []int{1, 4} {
		v, err := r.consumeWith(ctx, n)
		if err != nil {
			return err
		}
		r.say("%d consumers: %.0f events/s", n, v)
		r.figure(fmt.Sprintf("typedbus.consumers_%d_per_second", n), v)
		perSecond[n] = v
	}
	r.ratio("consumers_4_vs_1", perSecond[4]/perSecond[1])
	return nil
}

// consumeWith is how many events n processes acknowledge in a second, out of a backlog.
func (s *suite) consumeWith(ctx context.Context, n int) (perSecond float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // one that fails is not waited for by anybody
	defer cancel()
	const work, concurrency = time.Millisecond, 16
	sp, err := s.prepare(ctx, spec{Do: "fill", Rival: "typedbus-bytes", Publishers: 2, Batch: 200, Events: 50_000 + n*40_000})
	if err != nil {
		return 0, err
	}
	if _, err := s.again(ctx, sp); err != nil {
		return 0, err
	}
	sp.Do, sp.Work, sp.Setup.Concurrency = "consume", work, concurrency
	for range n {
		c, err := s.start(ctx, sp)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, c.kill()) }()
	}
	const begun = 5_000 // by then all are at work
	first, err := s.awaitSettled(ctx, sp.Setup.Topic, n*begun)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	<-time.After(s.unit)
	last, err := s.settled(ctx, sp.Setup.Topic)
	return float64(last-first) / time.Since(began).Seconds(), err
}

func (s *suite) awaitSettled(ctx context.Context, stream string, n int) (int64, error) {
	for {
		settled, err := s.settled(ctx, stream)
		if err != nil || settled >= int64(n) {
			return settled, err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("%d of %d events are acknowledged: %w", settled, n, ctx.Err())
		}
	}
}

// settled is how many events the group has acknowledged; 0 while there is no group.
func (s *suite) settled(ctx context.Context, stream string) (int64, error) {
	groups, err := s.XInfoGroups(ctx, stream).Result()
	if err != nil || len(groups) == 0 {
		return 0, err
	}
	return groups[0].EntriesRead - groups[0].Pending, nil
}

// idleness is what a thousand subscriptions cost that have nothing to do.
func idleness(ctx context.Context, r round) error {
	o, err := r.measure(ctx, spec{Do: "idle", Rival: "typedbus", Setup: contest.Setup{Topics: 1000}, Settle: r.settle, For: r.idle})
	if err != nil {
		return err
	}
	r.say("1,000 idle subscriptions: %.3f cores, %d connections, %d MiB", o.Cores, o.Conns, o.Peak>>20)
	r.ratio("idle_cpu", o.Cores)
	r.ratio("idle_conns", float64(o.Conns))
	r.figure("typedbus.idle_rss_mib", float64(o.Peak)/(1<<20))
	return nil
}
