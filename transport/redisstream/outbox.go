package redisstream

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// On a Cluster a staged message whose topic is another stream cannot be stored in the step that settles: it may be in another
// slot. It goes into the outbox of the settled message's stream in that step, and from there to its topic. Each carries an id
// of its own that marks the topic's slot, so that it arrives once however many processes relay it.

// The bookkeeping of an entry of an outbox, besides the fields of the message.
const (
	fieldTopic   = ownPrefix + "topic"   // where it goes
	fieldOnce    = ownPrefix + "once"    // its id
	fieldDelay   = ownPrefix + "delay"   // milliseconds, if it has NotBefore
	fieldOptions = ownPrefix + "options" // of XADD, if the topic has a hard bound
)

const (
	relayTick     = time.Second
	relayTickIdle = 5 * time.Second
	// markKept is how long the mark of a relayed message is kept while it may still be in the outbox, and markShort after that,
	// for a process that had read it before.
	markKept  = 24 * time.Hour
	markShort = time.Minute
	// relayWithin is how old a look at the outbox may be; well within markShort.
	relayWithin = 20 * time.Second
)

func (t *Transport) stageOutbox(from keys, tg *target, r transport.Retention, delay time.Duration, entry []any) stagedWrite {
	own := []any{fieldTopic, tg.topic, fieldOnce, transport.NewID()}
	if delay > 0 {
		own = append(own, fieldDelay, ceilMillis(delay))
	} else if options := t.hardBound(tg, r); len(options) > 0 {
		own = append(own, fieldOptions, joined(options))
	}
	return stagedWrite{keys: []string{from.outbox}, delay: "-1", entry: append(own, entry...),
		stored: func(t *Transport) { t.outs.wake(t, from, time.Now()) }}
}

// joined writes the options of XADD as one text.
func joined(options []any) string {
	var words []string
	for _, o := range options {
		switch o := o.(type) {
		case string:
			words = append(words, o)
		case *int64:
			words = append(words, strconv.FormatInt(*o, 10))
		}
	}
	return strings.Join(words, " ")
}

// mark is the key that says that a staged message has arrived.
func (k keys) mark(id string) string { return k.outbox + ":once:" + id }

// relay empties outboxes.
func (t *Transport) relay(ctx context.Context, from []keys) {
	for _, k := range from {
		found, err := t.relayOutbox(ctx, k)
		t.relayFailed(k, err)
		switch {
		case err != nil:
		case found:
			t.outs.next(k, relayTick)
		default:
			t.outs.nothing(k)
		}
	}
}

// relayFailed reports that an outbox cannot be emptied, once until it can. Only the relay calls it.
func (t *Transport) relayFailed(k keys, err error) {
	switch {
	case err == nil:
		delete(t.unrelayed, k)
	case isAnswer(err) && !t.unrelayed[k]:
		if t.unrelayed == nil {
			t.unrelayed = map[keys]bool{}
		}
		t.unrelayed[k] = true
		t.warn(t.clarify("relay what is staged in "+k.outbox, k.outbox, err))
	}
}

// relayOutbox goes through one outbox. What cannot be stored stays, and is passed over; err says why for the first of it.
func (t *Transport) relayOutbox(ctx context.Context, k keys) (found bool, err error) {
	var refused error
	start := "-"
	for ctx.Err() == nil {
		read := time.Now()
		page, err := t.cmd.XRangeN(ctx, k.outbox, start, "+", scriptBatch).Result()
		if err != nil || len(page) == 0 {
			return found, err
		}
		found = true
		// What may not be removed would be stored again when its mark is gone.
		if err := t.cmd.XDel(ctx, k.outbox, "0-0").Err(); err != nil {
			return true, err
		}
		var ids, marks []string
		for _, e := range page {
			if time.Since(read) > relayWithin {
				break
			}
			mark, err := t.relayEntry(ctx, e)
			refused = cmp.Or(refused, err)
			if mark != "" {
				ids, marks = append(ids, e.ID), append(marks, mark)
			}
		}
		t.relayed(ctx, k, ids, marks)
		if len(page) < scriptBatch {
			return found, refused
		}
		start = "(" + page[len(page)-1].ID
	}
	return found, ctx.Err()
}

// relayEntry stores a staged message in its topic. It returns the mark that says so, "" if it is not stored.
func (t *Transport) relayEntry(ctx context.Context, e redis.XMessage) (mark string, err error) {
	topic, id := text(e.Values[fieldTopic]), text(e.Values[fieldOnce])
	if transport.CheckName("topic", topic) != nil || id == "" {
		return "", nil
	}
	k := t.keys(topic)
	mark = k.mark(id)
	keys, due := []string{mark, k.stream}, int64(-1)
	if delay, err := strconv.ParseInt(text(e.Values[fieldDelay]), 10, 64); err == nil {
		due = entryTime(e.ID).UnixMilli() + delay
		keys = []string{mark, k.due, k.dueBody}
	}
	options := strings.Fields(text(e.Values[fieldOptions]))
	args := []any{markKept.Milliseconds(), due, id, len(options)}
	for _, o := range options {
		args = append(args, o)
	}
	for field, v := range e.Values {
		if !strings.HasPrefix(field, ownPrefix) {
			args = append(args, field, v)
		}
	}
	if _, err := scriptRelay.run(ctx, t.cmd, keys, args...); err != nil {
		return "", t.relayDenied(topic, k, err) // comes again with the next look
	}
	if due >= 0 {
		t.delayed(k, time.UnixMilli(due))
	}
	return mark, nil
}

// relayDenied is err or, if the user may not relay to the topic, what says so: the outbox is another's.
func (t *Transport) relayDenied(topic string, k keys, err error) error {
	if !isDenied(err) {
		return err
	}
	rules := t.probed(k.stream, func(k keys) []probe {
		return append(append(publishProbes(k), dedupProbes(k)...), probe{"+type", []any{"type", k.due}, "own"})
	})
	if len(rules) == 0 {
		return err
	}
	return &failure{"redisstream: relay what is staged for " + topic + ": " + missingRules(rules), []error{err}}
}

// relayed takes what has arrived out of the outbox, and has its marks end soon.
func (t *Transport) relayed(ctx context.Context, k keys, ids, marks []string) {
	if len(ids) == 0 || t.cmd.XDel(ctx, k.outbox, ids...).Err() != nil {
		return
	}
	pipe := t.cmd.Pipeline()
	for _, m := range marks {
		pipe.SetXX(ctx, m, "1", markShort) // PEXPIRE would be one more right
	}
	_, _ = pipe.Exec(ctx) // else they end in a day
}
