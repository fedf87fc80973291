package redisstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// Publish implements [transport.Transport]. It sends each message once; one with NotBefore waits in Redis.
//
// Up to 1,000 messages, and 1 MiB, go out in one round trip; a larger call takes several, one after the other, and stops at
// the first that fails. Messages of other calls may share the round trip and come between those of this one, which keep their
// order. A message may have up to 1,024 headers.
//
// A user that only publishes needs the right +xadd on the topic's stream. NotBefore needs besides +eval +evalsha +time +hset
// +hdel +zadd, and Dedup +eval +evalsha +exists +set, both on {stream}:*. With Dedup each ID is a small key of its own
// for as long as the window.
//
// Durable needs +wait, and OnDisk +waitaof, Redis 7.2 and appendonly yes; without them nothing is stored. Topics with it share connections,
// and round trips, only with those of the same durability; the answer is waited for as long as the client's ReadTimeout and the timeout
// together. The parts of a large call wait one after the other, and a shortage ends it.
func (t *Transport) Publish(ctx context.Context, topic transport.Topic, ms []*transport.Message) error {
	if len(ms) == 0 {
		return t.usable()
	}
	tg, l, err := t.publishing(ctx, topic, ms)
	if err != nil {
		return &transport.PublishError{Topic: topic.Name, Outcomes: make([]transport.Outcome, len(ms)), Err: err}
	}
	for first := 0; first < len(ms); {
		n := fitting(ms[first:])
		if part, err := t.publish(ctx, tg, l, topic, ms[first:first+n]); err != nil {
			return partly(topic.Name, len(ms), first, part, err)
		}
		first += n
	}
	return nil
}

// partly is the error of a call of n messages, of which the first ones are stored and the next have the outcomes of part.
func partly(topic string, n, first int, part []transport.Outcome, err error) error {
	e := &transport.PublishError{Topic: topic, Outcomes: make([]transport.Outcome, n), Err: err}
	for i := range first {
		e.Outcomes[i] = transport.Stored
	}
	copy(e.Outcomes[first:], part)
	return e
}

// publishing finds out where ms go, and what makes it impossible to send any of them.
func (t *Transport) publishing(ctx context.Context, topic transport.Topic, ms []*transport.Message) (*target, *lane, error) {
	if err := t.usable(); err != nil {
		return nil, nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, context.Cause(ctx)
	}
	tg, err := t.target(topic.Name)
	if err != nil {
		return nil, nil, err
	}
	for i, m := range ms {
		if err := tg.mp.accepts(m); err != nil {
			return nil, nil, fmt.Errorf("redisstream: message %d: %w", i, err)
		}
	}
	if err := t.preflightProducer(ctx); err != nil {
		return nil, nil, err
	}
	l, err := t.committer.lane(ctx, tg.stream, topic.Durable)
	if err != nil {
		return nil, nil, t.clarify("publish "+topic.Name, tg.stream, err)
	}
	if err := l.canFlush(ctx); err != nil {
		return nil, nil, err
	}
	return tg, l, nil
}

// target remembers where the messages of a topic go.
func (t *Transport) target(topic string) (*target, error) {
	if tg, ok := t.targets.get(topic); ok {
		return tg, nil
	}
	if err := transport.CheckName("topic", topic); err != nil {
		return nil, fmt.Errorf("redisstream: %w", err)
	}
	return t.targets.add(topic, newTarget(t.ctx, topic, t.keys(topic), t.mapping(topic))), nil
}

// fitting is how many of ms go out together, at least one.
func fitting(ms []*transport.Message) int {
	size := 0
	for i, m := range ms {
		size += weight(m)
		if i > 0 && (i >= maxPipelineCommands || size > maxPipelineBytes) {
			return i
		}
	}
	return len(ms)
}

// weight is about how many bytes m is on the wire.
func weight(m *transport.Message) int {
	n := 64 + len(m.ID) + len(m.Key) + len(m.ContentType) + len(m.Body)
	for i := range m.Headers {
		n += 16 + len(m.Headers[i].Name) + len(m.Headers[i].Value)
	}
	return n
}

// publish sends ms, which fit one pipeline. Where it returns an error it also returns their outcomes.
func (t *Transport) publish(
	ctx context.Context, tg *target, l *lane, topic transport.Topic, ms []*transport.Message,
) ([]transport.Outcome, error) {
	b := tg.batch(len(ms))
	delayed := false
	for i, m := range ms {
		b.size += weight(m)
		later := !m.NotBefore.IsZero() && m.NotBefore.After(time.Now())
		delayed = delayed || later
		switch {
		case topic.Dedup > 0 && m.ID != "":
			b.cmds[i] = newScripted(tg)
			b.cmds[i].once(tg, topic, m, later, t.serverNow)
		case later:
			b.cmds[i] = newScripted(tg)
			b.cmds[i].later(tg, m)
		default:
			b.cmds[i].xadd(tg, topic.Retention, m, t.serverNow)
		}
	}
	switch t.commit(ctx, tg, l, topic.Durable, b) {
	case unsent:
		return make([]transport.Outcome, len(ms)), context.Cause(ctx)
	case underWay:
		return slices.Repeat([]transport.Outcome{transport.Unknown}, len(ms)), context.Cause(ctx)
	}
	outcomes, err := b.outcomes()
	short := b.short
	if delayed {
		t.tellMover(tg, b)
	}
	if !delayed && topic.Dedup <= 0 { // scripts are not used again
		tg.recycle(b)
	}
	return shortOf(short, outcomes, t.publishError(ctx, tg, topic, delayed, err), len(ms))
}

// commit sends b, and again what a Cluster refused for now, until it takes it, the patience is over or ctx has ended.
func (t *Transport) commit(ctx context.Context, tg *target, l *lane, d transport.Durability, b *batch) fate {
	f := l.commit(ctx, b)
	if t.reads.cluster == nil {
		return f
	}
	for end, try := time.Now().Add(clusterPatience), 1; f == ended && b.refusedForNow() && clusterPause(ctx, end, try); try++ {
		if now, err := t.committer.lane(ctx, tg.stream, d); err == nil { // the slot may have arrived elsewhere
			l = now
		}
		b.sendRefused()
		f = l.commit(ctx, b)
	}
	return f
}

func (b *batch) refusedForNow() bool {
	return slices.ContainsFunc(b.cmds[:b.used], (*addCmd).refusedForNow)
}

// sendRefused has the next commit send what was refused for now, and nothing else.
func (b *batch) sendRefused() {
	for _, c := range b.cmds[:b.used] {
		if c.again = c.refusedForNow(); c.again {
			c.reset()
			c.moved, c.asking = "", false // where the slot is now, the lane knows better
		}
	}
	b.partly = true
}

// publishError is what Publish says about the error of a command.
func (t *Transport) publishError(ctx context.Context, tg *target, topic transport.Topic, delayed bool, err error) error {
	switch {
	case err == nil:
		return nil
	case whyOver(ctx) != nil && refusedForNow(err):
		return fmt.Errorf("%w: %w", whyOver(ctx), t.clarify("publish "+tg.topic, tg.stream, err))
	case whyOver(ctx) != nil && !answered(err): // the caller's context ended it, in a way that depends on when
		return whyOver(ctx)
	case t.ctx.Err() != nil && errors.Is(err, context.Canceled):
		err = transport.ErrClosed
	case isDenied(err):
		probes := publishProbes(tg.keys)
		if delayed {
			probes = append(probes, delayProbes(tg.keys)...)
		}
		if topic.Dedup > 0 {
			probes = append(probes, dedupProbes(tg.keys)...)
		}
		if topic.Durable.Asked() {
			probes = append(probes, waitProbes(topic.Durable)...)
		}
		if all := t.denial(ctx, tg.keys, probes); all != nil {
			return &failure{"redisstream: publish " + tg.topic + ": " + all.Error(), []error{err}}
		}
	}
	return t.clarify("publish "+tg.topic, tg.stream, err)
}

// whyOver is why ctx has ended, nil if it has not. A connection can notice the deadline a moment before the context does.
func whyOver(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return context.Cause(ctx)
}

// outcomes are those of the commands of b and the first error, both nil if all messages are stored.
func (b *batch) outcomes() (outcomes []transport.Outcome, first error) {
	for i, c := range b.cmds[:b.used] {
		o, err := c.outcome(b.failed)
		if o != transport.Stored && first == nil {
			first = err
			outcomes = slices.Repeat([]transport.Outcome{transport.Stored}, b.used)
		}
		if first != nil {
			outcomes[i] = o
		}
	}
	return outcomes, first
}

// tellMover says when the delayed messages of b are due.
func (t *Transport) tellMover(tg *target, b *batch) {
	if t.onDelayed == nil {
		return
	}
	for _, c := range b.cmds[:b.used] {
		if c.delay.at.IsZero() {
			continue
		}
		if ms, err := strconv.ParseInt(c.Val(), 10, 64); err == nil {
			t.onDelayed(tg.keys, time.UnixMilli(ms))
		}
	}
}

// serverNow is the server's clock, as far as it is known.
func (t *Transport) serverNow() time.Time { return time.Now().Add(time.Duration(t.clockAhead.Load())) }
