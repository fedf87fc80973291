package redisstream

import (
	"cmp"
	"strconv"
)

// The bookkeeping that entries of a retry stream and dead letters have besides the fields of their message.
const (
	fieldAttempt     = ownPrefix + "attempt"
	fieldRedelivered = ownPrefix + "redelivered"
	fieldOrigin      = ownPrefix + "origin" // the entry's id in the topic's stream
	fieldReason      = ownPrefix + "reason"
	fieldError       = ownPrefix + "error"
	fieldConsumer    = ownPrefix + "consumer"
	fieldReplays     = ownPrefix + "replays" // missing means 0
	fieldDied        = ownPrefix + "died"    // of a letter that was put, in milliseconds
	fieldFields      = ownPrefix + "fields"  // the message's fields, packed, where they are too many for a script
)

// A source is one of the two streams that a subscription reads.
type source byte

const (
	fromTopic source = 'm' // the topic's stream
	fromRetry source = 'r' // the group's retry stream
)

func (k groupKeys) of(src source) string {
	if src == fromRetry {
		return k.retry
	}
	return k.stream
}

// An entry is what a read or a claim brought; count is how often it was delivered, this time included.
type entry struct {
	src    source
	id     string
	count  int64
	fields fields
}

// entryKey names an entry among those of both streams.
func entryKey(src source, id string) string { return string(src) + id }

// bookkeeping is what an entry of a retry stream says besides its message.
type bookkeeping struct {
	attempt     int
	redelivered int
	replays     int
	origin      string
}

// bookkeeping is believed on the retry stream alone: anybody may write to the topic's.
func (e *entry) bookkeeping() bookkeeping {
	if e.src == fromRetry {
		return readBookkeeping(e.id, e.fields)
	}
	return bookkeeping{attempt: 1, origin: e.id}
}

func readBookkeeping(id string, fs fields) bookkeeping {
	return bookkeeping{
		attempt: counted(fs.get(fieldAttempt), 1), redelivered: counted(fs.get(fieldRedelivered), 0), replays: counted(fs.get(fieldReplays), 0),
		origin: cmp.Or(fs.get(fieldOrigin), id),
	}
}

// counted reads a count; none is what a missing or broken one means.
func counted(s string, none int) int {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 {
		return n
	}
	return none
}

// scriptEntries reads the entries that the scripts claim and adopt return.
func scriptEntries(src source, reply any) []entry {
	var es []entry
	for _, v := range list(reply) {
		l := list(v)
		es = append(es, entry{src: src, id: text(at(l, 0)), count: number(at(l, 1)), fields: fieldsOf(at(l, 2)).from(src)})
	}
	return es
}
