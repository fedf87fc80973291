package redisstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// What a letter that was put keeps of a message where the topic's mapping has no field for it.
const (
	fieldPutID          = ownPrefix + "id"
	fieldPutKey         = ownPrefix + "key"
	fieldPutContentType = ownPrefix + "ct"
)

// addPut completes m with what those fields say.
func addPut(m *transport.Message, fs fields) {
	m.ID = cmp.Or(fs.get(fieldPutID), m.ID)
	m.Key = cmp.Or(fs.get(fieldPutKey), m.Key)
	m.ContentType = cmp.Or(fs.get(fieldPutContentType), m.ContentType)
}

// Letter implements [transport.LetterArchive]: XRANGE of one entry.
func (t *Transport) Letter(ctx context.Context, topic transport.Topic, group, id string) (*transport.Letter, error) {
	k, err := t.groupKeys(topic.Name, group)
	if err != nil {
		return nil, err
	}
	if !isLetterID(id) {
		return nil, noLetter(topic.Name, group, id)
	}
	found, err := t.cmd.XRangeN(ctx, k.dead, id, id, 1).Result()
	if err != nil {
		return nil, t.clarify("dead letter of "+topic.Name+" for "+group, k.dead, err)
	}
	if len(found) == 0 {
		return nil, noLetter(topic.Name, group, id)
	}
	return letter(t.mapping(topic.Name), k.stream, found[0]), nil
}

func noLetter(topic, group, id string) error {
	return fmt.Errorf("redisstream: dead letter %.50q of %s for %s: %w", id, topic, group, transport.ErrNoLetter)
}

// PutLetter implements [transport.LetterArchive], in one script.
//
// Times are kept in milliseconds, and a zero Time or Died means now. A message without an ID gets one. A Body that is nil is that
// of a letter which was malformed, and stays so when it is replayed; an empty one is not nil. Error is cut to
// [transport.MaxErrorText]. An error other than of Redis' own leaves unknown whether the letter is stored.
func (t *Transport) PutLetter(ctx context.Context, topic transport.Topic, group string, l *transport.Letter, replaces string) (string, error) {
	k, err := t.groupKeys(topic.Name, group)
	if err != nil {
		return "", err
	}
	if replaces != "" && !isLetterID(replaces) {
		return "", noLetter(topic.Name, group, replaces)
	}
	args, err := t.putArgs(t.mapping(topic.Name), l, replaces)
	if err != nil {
		return "", fmt.Errorf("redisstream: put dead letter of %s for %s: %w", topic.Name, group, err)
	}
	reply, err := scriptPut.run(ctx, t.cmd, []string{k.dead, k.deadPut}, args...)
	if errors.Is(err, redis.Nil) {
		return "", noLetter(topic.Name, group, replaces)
	}
	return text(reply), t.clarify("put dead letter of "+topic.Name+" for "+group, k.dead, err)
}

// putArgs are the arguments of scripts/put.lua for l.
func (t *Transport) putArgs(mp *Mapping, l *transport.Letter, replaces string) ([]any, error) {
	if l == nil || l.Message == nil {
		return nil, errors.New("the letter has no message")
	}
	if err := mp.acceptsHeaders(l.Headers); err != nil {
		return nil, err
	}
	m := *l.Message
	if m.ID == "" {
		m.ID = transport.NewID()
	}
	if m.Time.IsZero() {
		m.Time = t.serverNow()
	}
	args := mp.appendUnmapped(mp.appendParts([]any{replaces, ""}, &m), &m)
	args = append(args, fieldAttempt, l.Attempt, fieldRedelivered, l.Redelivered, fieldReplays, l.Replays,
		fieldOrigin, strconv.FormatInt(millis(m.Time), 10)+"-0",
		fieldReason, l.Reason, fieldError, cut(l.Error, transport.MaxErrorText), fieldConsumer, l.Consumer)
	if !l.Died.IsZero() {
		args[1] = millis(l.Died)
		args = append(args, fieldDied, args[1])
	}
	return args, nil
}

// millis is t in milliseconds since 1970, and 0 before: an entry id has no earlier time.
func millis(t time.Time) int64 { return max(t.UnixMilli(), 0) }

// appendUnmapped appends what of m has no field in a foreign format.
func (mp *Mapping) appendUnmapped(args []any, m *transport.Message) []any {
	if mp.ID == "" {
		args = append(args, fieldPutID, m.ID)
	}
	if mp.Key == "" && m.Key != "" {
		args = append(args, fieldPutKey, m.Key)
	}
	if mp.ContentType == "" && m.ContentType != "" {
		args = append(args, fieldPutContentType, m.ContentType)
	}
	return args
}

// The fields of an act.
const (
	fieldWho    = "who"
	fieldWhat   = "what"
	fieldDetail = "detail"
	fieldCount  = "count"
)

// keptActs is how many acts are kept at least.
const keptActs = 10_000

// RecordAct implements [transport.LetterArchive]: XADD, in a script that may do so when Redis is full.
func (t *Transport) RecordAct(ctx context.Context, topic transport.Topic, group string, a transport.Act) error {
	k, err := t.groupKeys(topic.Name, group)
	if err != nil {
		return err
	}
	_, err = scriptRecord.run(ctx, t.cmd, []string{k.acts}, keptActs,
		fieldWho, a.Who, fieldWhat, a.What, fieldDetail, a.Detail, fieldCount, a.Count)
	return t.clarify("record act for "+topic.Name+" for "+group, k.acts, err)
}

// Acts implements [transport.LetterArchive]: XRANGE.
func (t *Transport) Acts(ctx context.Context, topic transport.Topic, group, after string, limit int) ([]transport.Act, error) {
	k, err := t.groupKeys(topic.Name, group)
	if err != nil {
		return nil, err
	}
	start, ok := pageStart(after)
	if !ok {
		return nil, fmt.Errorf("redisstream: bad act id %.50q: use the ActID of an act", after)
	}
	entries, err := t.cmd.XRangeN(ctx, k.acts, start, "+", int64(max(limit, 1))).Result()
	if err != nil {
		return nil, t.clarify("acts of "+topic.Name+" for "+group, k.acts, err)
	}
	acts := make([]transport.Act, len(entries))
	for i, e := range entries {
		acts[i] = act(e)
	}
	return acts, nil
}

// act reads an entry of the record. A count that is missing is not known.
func act(e redis.XMessage) transport.Act {
	a := transport.Act{
		ActID: e.ID, Time: entryTime(e.ID),
		Who: text(e.Values[fieldWho]), What: text(e.Values[fieldWhat]), Detail: text(e.Values[fieldDetail]), Count: -1,
	}
	if n, err := strconv.ParseInt(text(e.Values[fieldCount]), 10, 64); err == nil {
		a.Count = n
	}
	return a
}
