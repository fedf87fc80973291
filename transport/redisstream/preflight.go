package redisstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// checkedOnce remembers what was found fit, and has concurrent callers wait for one check.
type checkedOnce struct {
	mu sync.Mutex
	m  map[string]*check
}

type check struct {
	done chan struct{}
	err  error
}

// do calls f unless it has succeeded before under this name.
func (c *checkedOnce) do(ctx context.Context, name string, f func() error) error {
	for {
		ch, mine := c.join(name)
		if mine {
			ch.err = f()
			c.leave(name, ch)
			return ch.err
		}
		select {
		case <-ch.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		// The context of another caller is none of ours.
		if ch.err == nil || !errors.Is(ch.err, context.Canceled) && !errors.Is(ch.err, context.DeadlineExceeded) {
			return ch.err
		}
	}
}

func (c *checkedOnce) join(name string) (ch *check, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.m[name]; ch != nil {
		return ch, false
	}
	if c.m == nil {
		c.m = map[string]*check{}
	}
	ch = &check{done: make(chan struct{})}
	c.m[name] = ch
	return ch, true
}

func (c *checkedOnce) leave(name string, ch *check) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.err != nil {
		delete(c.m, name)
	}
	close(ch.done)
}

// preflightProducer checks once per transport that the server is fit. Rights are not looked at: XADD tells as much.
func (t *Transport) preflightProducer(ctx context.Context) error {
	if t.fit.Load() {
		return nil
	}
	return t.checkServer(ctx)
}

// preflightConsumer checks once per topic and group that the server is fit and the user may do what consuming needs. The
// error names every rule that is missing.
func (t *Transport) preflightConsumer(ctx context.Context, topic, group string) error {
	if err := t.usable(); err != nil {
		return err
	}
	k := t.keys(topic).group(group)
	return t.checks.do(ctx, "consume "+k.stream+" "+group, func() error {
		return t.look(ctx, "subscribe to "+topic, k.keys, consumeProbes(k))
	})
}

// denial is what to say about what the user has no right to: all that is missing, not only the first.
func (t *Transport) denial(ctx context.Context, k keys, probes []probe) error {
	node, err := t.reads.node(ctx, k.stream)
	if err != nil {
		return nil
	}
	rules, err := lacking(ctx, node, k, probes)
	if err != nil || len(rules) == 0 {
		return nil
	}
	return errors.New(missingRules(rules))
}

// checkServer looks at the server once per transport.
func (t *Transport) checkServer(ctx context.Context) error {
	return t.checks.do(ctx, "server", func() error { return t.look(ctx, "connect", t.keys("typedbus"), nil) })
}

// look sends all questions about the server, if it is not known yet, and all probes in one round trip. It waits while the
// server is loading.
func (t *Transport) look(ctx context.Context, op string, k keys, probes []probe) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := t.lookOnce(ctx, op, k, probes)
		if !redis.HasErrorPrefix(err, "LOADING") {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

func (t *Transport) lookOnce(ctx context.Context, op string, k keys, probes []probe) error {
	node, err := t.reads.node(ctx, k.stream)
	if err != nil {
		return t.clarify(op, k.stream, err)
	}
	p := node.Pipeline()
	sent := time.Now()
	questions := make([]*redis.Cmd, len(serverQuestions))
	for i, q := range serverQuestions {
		questions[i] = p.Do(ctx, q...)
	}
	cmds := make([]*redis.Cmd, len(probes))
	for i, pr := range probes {
		cmds[i] = p.Do(ctx, pr.args...)
	}
	_, err = p.Exec(ctx)
	if err != nil && (!answered(err) || questions[0].Err() == nil && questions[0].Val() == nil) {
		if len(probes) > 0 && broke(err) { // a server that wants a password hangs up on the longer of the probes, and its answers are lost
			if err := t.lookOnce(ctx, op, k, nil); err != nil {
				return err
			}
		}
		return t.noConnection(ctx, op, node, err)
	}
	if err := questions[0].Err(); redis.HasErrorPrefix(err, "LOADING") || classify(err) == operator && !redis.IsPermissionError(err) {
		return t.clarify(op, k.stream, err)
	}
	if !t.fit.Load() {
		if err := t.judge(serverFacts(questions, sent, time.Now())); err != nil {
			return err
		}
		t.fit.Store(true)
	}
	if rules := missing(cmds, k, probes); len(rules) > 0 {
		return &failure{text: "redisstream: " + op + ": " + missingRules(rules)}
	}
	return nil
}

// noConnection explains why there is none, or why it was refused before the first question.
func (t *Transport) noConnection(ctx context.Context, op string, node *redis.Client, err error) error {
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return t.clarify(op, "", err)
	}
	text := "cannot connect in time: look at the address and the firewalls"
	if node.Options().TLSConfig != nil {
		text += "; or the server does not speak TLS: use redis:// instead of rediss://, or its TLS port"
	}
	return &failure{"redisstream: " + op + ": " + text, []error{err}}
}

// serverQuestions are what a server is asked. HELLO needs no right; the rest may be denied, and is not looked at then.
var serverQuestions = [][]any{{"ping"}, {"hello"}, {"info", "server"}, {"info", "memory"}, {"time"}}

// facts are what a server told about itself; what it did not tell is empty.
type facts struct {
	product, version, mode, role string
	eviction                     string
	ahead                        time.Duration // of its clock
	clock                        bool
}

func serverFacts(answers []*redis.Cmd, sent, received time.Time) facts {
	hello := pairs(answers[1].Val())
	f := facts{product: hello["server"], version: hello["version"], mode: hello["mode"], role: hello["role"]}
	info := answers[2].Val()
	if f.version == "" {
		f.product, f.version = "redis", infoField(info, "redis_version")
	}
	if v := infoField(info, "valkey_version"); v != "" {
		f.product, f.version = "valkey", v
	}
	f.eviction = infoField(answers[3].Val(), "maxmemory_policy")
	if now, ok := serverTime(answers[4].Val()); ok {
		middle := sent.Add(received.Sub(sent) / 2)
		f.ahead, f.clock = now.Sub(middle), true
	}
	return f
}

// pairs reads the reply of HELLO, a map or, in the older protocol, a flat list.
func pairs(v any) map[string]string {
	m := map[string]string{}
	switch v := v.(type) {
	case map[any]any:
		for k, x := range v {
			m[fmt.Sprint(k)] = fmt.Sprint(x)
		}
	case []any:
		for i := 0; i+1 < len(v); i += 2 {
			m[fmt.Sprint(v[i])] = fmt.Sprint(v[i+1])
		}
	}
	return m
}

func infoField(v any, name string) string {
	s, _ := v.(string)
	for line := range strings.Lines(s) {
		if k, x, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && k == name {
			return x
		}
	}
	return ""
}

func serverTime(v any) (time.Time, bool) {
	l, _ := v.([]any)
	if len(l) != 2 {
		return time.Time{}, false
	}
	sec, err1 := strconv.ParseInt(fmt.Sprint(l[0]), 10, 64)
	usec, err2 := strconv.ParseInt(fmt.Sprint(l[1]), 10, 64)
	return time.Unix(sec, usec*1000), err1 == nil && err2 == nil
}

// maxClockSkew is how far the clocks may differ before it is worth a warning.
const maxClockSkew = 5 * time.Second

// judge refuses a server that will not do, and warns of one that will but should not.
func (t *Transport) judge(f facts) error {
	major, _, _ := strings.Cut(f.version, ".")
	n, err := strconv.Atoi(major)
	_, cluster := t.cmd.(*redis.ClusterClient)
	switch {
	case err == nil && n < 7:
		return fmt.Errorf("redisstream: %s %s is too old: upgrade the server to 7.0 or newer", printable(f.product, 20), printable(f.version, 20))
	case f.mode == "sentinel":
		return errors.New("redisstream: this is a Sentinel and no Redis: use a URL that begins with redis+sentinel://, or a failover client")
	case f.mode == "cluster" && !cluster:
		return errors.New("redisstream: this Redis is part of a Cluster: use a URL that begins with redis+cluster://, or a ClusterClient")
	case f.role == "slave" || f.role == "replica":
		return errors.New("redisstream: this Redis is a replica, which nothing can be written to: connect to its master")
	}
	if f.clock {
		t.clockAhead.Store(int64(f.ahead))
		if f.ahead.Abs() > maxClockSkew {
			t.warn(fmt.Errorf("redisstream: the clocks of Redis and this host differ by %v: synchronize them (delays follow the clock of Redis)",
				f.ahead.Abs().Round(time.Second)))
		}
	}
	if f.eviction != "" && f.eviction != "noeviction" {
		t.warn(fmt.Errorf("redisstream: maxmemory-policy is %s: when its memory is full Redis may remove whole streams, or what protects from "+
			"duplicates: set it to noeviction", printable(f.eviction, 40)))
	}
	return nil
}
