package redisstream

import (
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// Topics with Durable have lanes of their own, one for each durability: a WAIT holds up its connection and what shares the
// pipeline. It covers all that was written on its connection before, so one ends each pipeline.

// durableAt is what durable lanes are told apart by.
type durableAt struct {
	addr string
	transport.Durability
}

// durableLane is called without c.mu.
func (c *committer) durableLane(node *redis.Client, d transport.Durability) *lane {
	at := durableAt{node.Options().Addr, transport.Durability{Replicas: d.Replicas, Timeout: d.TimeoutOrDefault()}}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.durable[at]; l != nil {
		return l
	}
	if c.durable == nil {
		c.durable = map[durableAt]*lane{}
	}
	l := &lane{t: c.t, durability: at.Durability, own: redis.NewClient(durableOptions(node.Options(), at.Timeout)), closed: c.t.ctx.Err() != nil}
	c.durable[at] = l
	return l
}

// durableOptions give the answers of a pipeline the time of the WAIT besides.
func durableOptions(o *redis.Options, wait time.Duration) *redis.Options {
	c := laneOptions(o, maxFlying)
	if c.ReadTimeout > 0 {
		c.ReadTimeout += wait
	}
	return c
}

// execDurable runs the commands of f, then waits for replicas.
func (l *lane) execDurable(bs []*batch, f *flight, which func(*batch, *addCmd) bool) error {
	wait := redis.NewIntCmd(l.t.ctx, "wait", l.durability.Replicas, ceilMillis(l.durability.Timeout))
	f.cmds = append(f.cmds, once{wait})
	p := l.own.Pipeline()
	err := p.BatchProcess(l.t.ctx, f.cmds...)
	if err == nil {
		_, err = p.Exec(l.t.ctx)
	}
	if err != nil && l.t.reads.cluster != nil {
		l.t.reads.cluster.ReloadState(l.t.ctx) // it does not see the errors of other clients
	}
	short := l.shortage(wait)
	for _, b := range bs {
		if slices.ContainsFunc(b.cmds[:b.used], func(c *addCmd) bool { return which(b, c) }) {
			b.short = short
		}
	}
	return err
}

// shortage is nil if enough replicas have what was written.
func (l *lane) shortage(wait *redis.IntCmd) *transport.DurabilityError {
	n, err := wait.Result()
	if err == nil && int(n) >= l.durability.Replicas {
		return nil
	}
	return &transport.DurabilityError{
		Want: l.durability.Replicas, Have: int(n), Timeout: l.durability.Timeout, Err: l.t.clarify("wait for replicas", "", err),
	}
}

// shortOf adds a shortage to what became of n messages.
func shortOf(short *transport.DurabilityError, outcomes []transport.Outcome, err error, n int) ([]transport.Outcome, error) {
	switch {
	case short == nil:
	case err == nil:
		return slices.Repeat([]transport.Outcome{transport.Stored}, n), short
	case slices.Contains(outcomes, transport.Stored):
		return outcomes, &failure{err.Error() + "; what is stored: " + short.Error(), []error{err, short}}
	}
	return outcomes, err
}
