package redisstream

import (
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
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
	values map[string]any // nil if the entry has been deleted
}

func (e *entry) key() string { return string(e.src) + e.id }

// bookkeeping is what an entry of a retry stream says besides its message.
type bookkeeping struct {
	attempt     int
	redelivered int
	replays     int
	origin      string
}

// bookkeeping is believed on the retry stream alone: anybody may write to the topic's.
func (e *entry) bookkeeping() bookkeeping {
	b := bookkeeping{attempt: 1, origin: e.id}
	if e.src == fromRetry {
		b = readBookkeeping(e.id, e.values)
	}
	b.redelivered += int(max(e.count-1, 0))
	return b
}

func readBookkeeping(id string, values map[string]any) bookkeeping {
	b := bookkeeping{
		attempt: counted(values[fieldAttempt], 1), redelivered: counted(values[fieldRedelivered], 0), replays: counted(values[fieldReplays], 0),
		origin: id,
	}
	if o := text(values[fieldOrigin]); o != "" {
		b.origin = o
	}
	return b
}

// counted reads a count; none is what a missing or broken one means.
func counted(v any, none int) int {
	if n, err := strconv.Atoi(text(v)); err == nil && n >= 0 {
		return n
	}
	return none
}

// delivery makes a delivery of an entry. Time, and the id of a message that has none, come from the entry in the topic's
// stream, so that they are the same in each delivery.
func (s *subscription) delivery(e *entry, receipt string) *transport.Delivery {
	b := e.bookkeeping()
	m, malformed := s.mapping.parse(s.keys.stream, b.origin, e.values)
	if e.src == fromRetry {
		addPut(m, e.values)
	}
	return &transport.Delivery{
		Message: m, Topic: s.topic.Name, Group: s.group.Name,
		Attempt: b.attempt, Redelivered: b.redelivered, Replays: b.replays, Receipt: receipt, Malformed: malformed,
	}
}

// entries reads the reply of XREADGROUP.
func (s *subscription) entries(streams []redis.XStream) []entry {
	var es []entry
	for _, st := range streams {
		src := fromTopic
		if st.Stream == s.keys.retry {
			src = fromRetry
		}
		for _, m := range st.Messages {
			es = append(es, entry{src: src, id: m.ID, count: 1, values: src.unpacked(m.Values)})
		}
	}
	return es
}

// unpacked is an entry's fields. Only those of the retry stream can be packed; anybody may write to the topic's.
func (src source) unpacked(values map[string]any) map[string]any {
	if src == fromRetry {
		unpack(values)
	}
	return values
}

// unpack puts packed fields (scripts/lib.lua, short) in their place.
func unpack(values map[string]any) {
	packed, ok := values[fieldFields].(string)
	if !ok {
		return
	}
	delete(values, fieldFields)
	var field, value string
	for packed != "" {
		if field, packed, ok = cutPacked(packed); !ok {
			return
		}
		if value, packed, ok = cutPacked(packed); !ok {
			return
		}
		values[field] = value
	}
}

// cutPacked cuts off one <length>:<bytes>.
func cutPacked(s string) (first, rest string, ok bool) {
	length, rest, _ := strings.Cut(s, ":")
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n > len(rest) {
		return "", "", false
	}
	return rest[:n], rest[n:], true
}

// scriptEntries reads the entries that the scripts claim and adopt return.
func scriptEntries(src source, reply any) []entry {
	var es []entry
	for _, v := range list(reply) {
		e := list(v)
		es = append(es, entry{src: src, id: text(at(e, 0)), count: number(at(e, 1)), values: src.unpacked(fields(at(e, 2)))})
	}
	return es
}
