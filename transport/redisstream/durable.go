package redisstream

import (
	"context"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// Topics with Durable have lanes of their own, one for each durability: a WAIT (or WAITAOF) holds up its connection and what shares the
// pipeline. It covers all that was written on its connection before, so one ends each pipeline.

// durableAt is what durable lanes are told apart by.
type durableAt struct {
	addr string
	transport.Durability
}

// durableLane is called without c.mu. o are the options of a client of the node.
func (c *committer) durableLane(o *redis.Options, d transport.Durability) *lane {
	d.Timeout = d.TimeoutOrDefault()
	at := durableAt{o.Addr, d}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.durable[at]; l != nil {
		return l
	}
	if c.durable == nil {
		c.durable = map[durableAt]*lane{}
	}
	l := &lane{t: c.t, durability: d, node: o, own: redis.NewClient(durableOptions(o, d.Timeout)), closed: c.t.ctx.Err() != nil}
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

// execDurable runs commands, those that the server has sent elsewhere there.
func (l *lane) execDurable(bs []*batch, which func(*batch, *addCmd) bool) (failed error) {
	addrs := map[string]struct{}{}
	for _, b := range bs {
		for _, c := range b.cmds[:b.used] {
			if which(b, c) {
				addrs[c.moved] = struct{}{}
			}
		}
	}
	for addr := range addrs {
		if err := l.elsewhere(addr).execHere(bs, func(b *batch, c *addCmd) bool { return which(b, c) && c.moved == addr }); err != nil {
			failed = err
		}
	}
	return failed
}

// elsewhere is the lane of the same durability at another address; "" is here.
func (l *lane) elsewhere(addr string) *lane {
	if addr == "" {
		return l
	}
	o := *l.node
	o.Addr = addr
	if host, port, err := net.SplitHostPort(addr); err == nil && (host == "" || host == "?") { // a node that does not know its name
		here, _, _ := net.SplitHostPort(l.node.Addr)
		o.Addr = net.JoinHostPort(here, port)
	}
	return l.t.committer.durableLane(&o, l.durability)
}

// execHere runs commands, then waits until what they stored is durable.
func (l *lane) execHere(bs []*batch, which func(*batch, *addCmd) bool) error {
	f := flights.Get().(*flight)
	defer f.giveBack()
	for _, b := range bs {
		for _, c := range b.cmds[:b.used] {
			if !which(b, c) {
				continue
			}
			if c.asking {
				f.cmds = append(f.cmds, redis.NewCmd(l.t.ctx, "asking"))
			}
			f.cmds = append(f.cmds, c)
		}
	}
	wait := l.wait()
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
		if b.short == nil && slices.ContainsFunc(b.cmds[:b.used], func(c *addCmd) bool { return which(b, c) && c.Val() != "" }) {
			b.short = short
		}
	}
	return err
}

func (l *lane) wait() *redis.Cmd {
	d := l.durability
	if d.OnDisk {
		return redis.NewCmd(l.t.ctx, "waitaof", 1, d.Replicas, ceilMillis(d.Timeout))
	}
	return redis.NewCmd(l.t.ctx, "wait", d.Replicas, ceilMillis(d.Timeout))
}

// shortage is nil if what was written is as durable as asked.
func (l *lane) shortage(wait *redis.Cmd) *transport.DurabilityError {
	d := l.durability
	e := &transport.DurabilityError{Want: d.Replicas, OnDisk: d.OnDisk, Timeout: d.Timeout}
	answer, err := wait.Result()
	switch have := list(answer); {
	case err != nil:
		e.Err = l.t.noWait(d, err)
	case d.OnDisk:
		e.Flushed, e.Have = number(at(have, 0)) > 0, int(number(at(have, 1)))
	default:
		e.Have = int(number(answer))
	}
	if e.Err == nil && e.Have >= e.Want && (e.Flushed || !d.OnDisk) {
		return nil
	}
	return e
}

// noWait says why a WAIT or WAITAOF was refused.
func (t *Transport) noWait(d transport.Durability, err error) error {
	switch {
	case !d.OnDisk:
		return t.clarify("wait for replicas", "", err)
	case redis.HasErrorPrefix(err, "unknown command"):
		return &failure{text: "redisstream: wait for the disk: this server does not know WAITAOF: it needs Redis 7.2 or newer: upgrade it, or wait for " +
			"replicas only"} // without the cause: its text repeats arguments
	case answered(err) && strings.Contains(err.Error(), "appendonly is disabled"):
		return &failure{"redisstream: wait for the disk: the server writes nothing to disk at once: set appendonly yes there, or wait for " +
			"replicas only", []error{err}}
	}
	return t.clarify("wait for the disk", "", err)
}

// canFlush finds out, once per node, whether a server that is to have things on disk can tell: better before publishing than after.
func (l *lane) canFlush(ctx context.Context) error {
	if !l.durability.OnDisk {
		return nil
	}
	return l.t.checks.do(ctx, "waitaof "+l.node.Addr, func() error {
		err := l.own.Process(ctx, once{redis.NewCmd(ctx, "waitaof", 1, 0, 1)})
		if err != nil {
			return l.t.noWait(l.durability, err)
		}
		return nil
	})
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
