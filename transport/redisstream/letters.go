package redisstream

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// Letters implements [transport.DeadLetters]: XRANGE of the group's stream of dead letters.
func (t *Transport) Letters(ctx context.Context, topic transport.Topic, group, after string, limit int) ([]*transport.Letter, error) {
	k, err := t.groupKeys(topic.Name, group)
	if err != nil {
		return nil, err
	}
	start, ok := pageStart(after)
	if !ok {
		return nil, fmt.Errorf("redisstream: bad letter id %.50q: use the LetterID of a letter", after)
	}
	entries, err := t.cmd.XRangeN(ctx, k.dead, start, "+", int64(max(limit, 1))).Result()
	if err != nil {
		return nil, t.clarify("dead letters of "+topic.Name+" for "+group, k.dead, err)
	}
	letters := make([]*transport.Letter, len(entries))
	for i, e := range entries {
		letters[i] = letter(t.mapping(topic.Name), k.stream, e)
	}
	return letters, nil
}

// pageStart is where XRANGE begins with what comes after an entry; ok is false if after is no entry id.
func pageStart(after string) (start string, ok bool) {
	if after == "" {
		return "-", true
	}
	_, _, ok = parseEntryID(after)
	return "(" + after, ok
}

// letter reads a dead letter. What it lacks stays empty: the letter of a malformed entry is malformed too.
func letter(mp *Mapping, stream string, e redis.XMessage) *transport.Letter {
	fs := fieldsIn(e.Values)
	b := readBookkeeping(e.ID, fs)
	l := &transport.Letter{
		Message: &transport.Message{}, LetterID: e.ID, Died: died(e.ID, fs),
		Reason: fs.get(fieldReason), Error: fs.get(fieldError), Consumer: fs.get(fieldConsumer),
		Attempt: b.attempt, Redelivered: b.redelivered, Replays: b.replays,
	}
	_ = mp.parse(l.Message, stream, b.origin, fs)
	addPut(l.Message, fs)
	return l
}

// died is when a group gave up: when the entry was made, or, if it was put, what it says.
func died(id string, fs fields) time.Time {
	if ms, err := strconv.ParseInt(fs.get(fieldDied), 10, 64); err == nil {
		return time.UnixMilli(ms)
	}
	return entryTime(id)
}

// isLetterID says whether a letter could have the id, written as it is. Redis takes more: a time alone, for all entries of it, and
// zeros in front.
func isLetterID(id string) bool {
	ms, seq, ok := parseEntryID(id)
	return ok && id == strconv.FormatUint(ms, 10)+"-"+strconv.FormatUint(seq, 10)
}

// CountLetters implements [transport.DeadLetters]: XLEN.
func (t *Transport) CountLetters(ctx context.Context, topic transport.Topic, group string) (int64, error) {
	k, err := t.groupKeys(topic.Name, group)
	if err != nil {
		return 0, err
	}
	n, err := t.cmd.XLen(ctx, k.dead).Result()
	return n, t.clarify("count dead letters of "+topic.Name+" for "+group, k.dead, err)
}

// Replay implements [transport.DeadLetters]: letters go to the group's retry stream, up to 100 in one step.
func (t *Transport) Replay(ctx context.Context, topic transport.Topic, group string, ids ...string) (int, error) {
	k, err := t.groupKeys(topic.Name, group)
	if err != nil {
		return 0, err
	}
	return t.inBatches(ids, func(batch []any) (int64, error) {
		reply, err := scriptReplay.run(ctx, t.cmd, []string{k.dead, k.retry, k.deadPut}, batch...)
		return number(reply), t.clarify("replay dead letters of "+topic.Name+" for "+group, k.dead, err)
	})
}

// Discard implements [transport.DeadLetters]: XDEL, up to 100 in one step.
func (t *Transport) Discard(ctx context.Context, topic transport.Topic, group string, ids ...string) (int, error) {
	k, err := t.groupKeys(topic.Name, group)
	if err != nil {
		return 0, err
	}
	return t.inBatches(ids, func(batch []any) (int64, error) {
		reply, err := scriptDiscard.run(ctx, t.cmd, []string{k.dead, k.deadPut}, batch...)
		return number(reply), t.clarify("discard dead letters of "+topic.Name+" for "+group, k.dead, err)
	})
}

// inBatches adds up what f does with ids, without those that cannot exist.
func (t *Transport) inBatches(ids []string, f func(batch []any) (int64, error)) (sum int, err error) {
	for chunk := range slices.Chunk(ids, scriptBatch) {
		var batch []any
		for _, id := range chunk {
			if isLetterID(id) {
				batch = append(batch, id)
			}
		}
		if len(batch) == 0 {
			continue
		}
		n, err := f(batch)
		sum += int(n)
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}
