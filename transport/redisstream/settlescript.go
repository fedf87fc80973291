package redisstream

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/typedbus/typedbus/transport"
)

// endingKeys are the keys of scripts/settle.lua for e.
func (s *subscription) endingKeys(e *ending) []string {
	keys := append([]string{s.keys.of(e.src)}, s.destination(e)...)
	for _, w := range e.staged {
		keys = append(keys, w.keys...)
	}
	if e.gone {
		keys = append(keys, s.keys.mark(s.consumer, e.held.key))
	}
	return keys
}

// destination is where the message goes on waiting, if it does.
func (s *subscription) destination(e *ending) []string {
	switch {
	case e.Verdict == transport.Done:
		return nil
	case e.Verdict == transport.Dead:
		return []string{s.keys.dead}
	case e.later():
		return []string{s.keys.groupDue, s.keys.groupDueBody}
	}
	return []string{s.keys.retry}
}

func (e *ending) later() bool {
	return e.After > 0 && (e.Verdict == transport.Failed || e.Verdict == transport.Deferred)
}

// endingArgs are the arguments of scripts/settle.lua for e.
func (s *subscription) endingArgs(e *ending) []any {
	where, member := "now", ""
	switch {
	case e.Verdict == transport.Done:
		where = "none"
	case e.later():
		where, member = "later", transport.NewID()
	}
	args := []any{s.group.Name, s.consumer, e.id, e.count, flag(!e.gone), flag(e.src == fromRetry), where, ceilMillis(e.After), member}
	own := s.ownFields(e)
	args = append(append(args, len(own)), own...)
	if e.given {
		fs := s.appendFields(nil, e.held)
		args = append(args, len(fs)*2)
		for _, f := range fs {
			args = append(args, f.name, f.value)
		}
	} else {
		args = append(args, -1)
	}
	args = append(args, len(e.staged))
	key := 2 + len(s.destination(e))
	for _, w := range e.staged {
		args = w.appendTo(args, key)
		key += len(w.keys)
	}
	return args
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// ceilMillis rounds up: never early. Adding first would turn the longest durations into the past.
func ceilMillis(d time.Duration) int64 {
	ms := max(d, 0).Milliseconds()
	if d > 0 && d%time.Millisecond != 0 {
		ms++
	}
	return ms
}

// ownFields is the bookkeeping that the message carries on, from what the transport knows and not from what the handler's
// delivery says now.
func (s *subscription) ownFields(e *ending) []any {
	if e.Verdict == transport.Done {
		return nil
	}
	b := e.held.book
	if e.Verdict == transport.Failed {
		b.attempt++
	}
	own := []any{fieldAttempt, b.attempt, fieldRedelivered, e.held.redelivered(), fieldOrigin, b.origin}
	if b.replays > 0 {
		own = append(own, fieldReplays, b.replays)
	}
	if e.Verdict == transport.Dead {
		own = append(own, fieldReason, e.Reason, fieldError, cut(e.Error, transport.MaxErrorText), fieldConsumer, s.consumer)
	}
	return own
}

// cut shortens s to at most n bytes of whole characters.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// A stagedWrite is a message that is stored together with a settlement.
type stagedWrite struct {
	keys    []string // a stream; or a set and its hash
	delay   string   // milliseconds, "-1" for a stream
	member  string
	options []any // of XADD
	entry   []any
	stored  func(t *Transport) // called when it is
}

func (w *stagedWrite) appendTo(args []any, key int) []any {
	args = append(args, key, w.delay, w.member, len(w.options))
	args = append(args, w.options...)
	args = append(args, len(w.entry))
	return append(args, w.entry...)
}

// stage prepares a staged message: for its topic's stream, its delayed messages, or, where that is in another slot, the outbox
// of the settled message's own.
func (t *Transport) stage(from keys, st *transport.Staged) (stagedWrite, error) {
	tg, err := t.target(st.Topic.Name)
	if err != nil {
		return stagedWrite{}, err
	}
	if err := tg.mp.accepts(st.Message); err != nil {
		return stagedWrite{}, err
	}
	entry := slices.Clip(tg.mp.appendFields(nil, st.Message))
	delay := time.Duration(0)
	if !st.NotBefore.IsZero() {
		delay = time.Until(st.NotBefore)
	}
	if t.reads.cluster != nil && tg.stream != from.stream {
		return t.stageOutbox(from, tg, st.Topic.Retention, delay, entry), nil
	}
	if delay > 0 {
		ms := ceilMillis(delay)
		return stagedWrite{keys: []string{tg.due, tg.dueBody}, delay: strconv.FormatInt(ms, 10), member: transport.NewID(), entry: entry,
			stored: func(t *Transport) { t.moves.wake(t, tg.keys.topicMove(), time.Now().Add(delay)) }}, nil
	}
	return stagedWrite{keys: []string{tg.stream}, delay: "-1", options: t.hardBound(tg, st.Topic.Retention), entry: entry,
		stored: func(*Transport) {}}, nil
}

// hardBound are the options of XADD that keep a topic's hard bound.
func (t *Transport) hardBound(tg *target, r transport.Retention) []any {
	var c addCmd
	c.bound(tg, r, t.serverNow)
	return c.args
}
