package redisstream

import (
	"errors"
	"strconv"
	"strings"
	"unsafe"
)

// go-redis makes a map of each entry and boxes each value, which was most of what receiving cost. So the answer to XREADGROUP is
// read here, from its bytes, in RESP2.
// https://redis.io/docs/latest/develop/reference/protocol-spec/

var errReply = errors.New("redisstream: the server's answer to XREADGROUP is none")

// A replyError is an error that the server answered.
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError marks it as one, for go-redis.
func (replyError) RedisError() {}

// A respReader reads values one after the other. The first error stays; what is read after it is empty.
type respReader struct {
	rest string
	err  error
}

// line is the next line without its end, "" after an error.
func (r *respReader) line() string {
	line, rest, ok := strings.Cut(r.rest, "\r\n")
	if !ok || line == "" {
		r.fail()
		return ""
	}
	r.rest = rest
	return line
}

func (r *respReader) fail() {
	if r.err == nil {
		r.err = errReply
	}
	r.rest = ""
}

// list begins an array and returns how many values follow; -1 for null.
func (r *respReader) list() int {
	line := r.line()
	if line == "" {
		return -1
	}
	n, err := strconv.Atoi(line[1:])
	switch {
	case line[0] == '-':
		r.err, r.rest = replyError(strings.Clone(line[1:])), ""
	case line[0] == '*' && err == nil && n >= -1 && n <= len(r.rest):
		return n
	case line == "$-1":
	default:
		r.fail()
	}
	return -1
}

// text is a string.
func (r *respReader) text() string {
	line := r.line()
	if line == "" {
		return ""
	}
	if line[0] == '$' {
		return r.bytes(strconv.Atoi(line[1:]))
	}
	r.fail()
	return ""
}

func (r *respReader) bytes(n int, err error) string {
	if err != nil || n < 0 || n+2 > len(r.rest) || r.rest[n:n+2] != "\r\n" {
		r.fail()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n+2:]
	return s
}

// maxReply is about how large an answer may become, and how large a buffer is kept for the next one. COUNT is a number of entries:
// a thousand of a megabyte would be a gigabyte in one piece.
const maxReply = 1 << 20

// A readReply is what a read has brought. Its entries are parts of the buffer: they are good until forget.
type readReply struct {
	request []byte // used again
	buffer  []byte
	entries []entry
	fields  fields // of all entries; used again
	usual   int    // bytes of an entry, as far as it is known
}

// within is how many entries to ask for, so that the answer does not become too large if they are like the last ones.
func (rr *readReply) within(limit int) int { return max(1, min(limit, maxReply/max(rr.usual, 1))) }

func (rr *readReply) text() string { return unsafe.String(unsafe.SliceData(rr.buffer), len(rr.buffer)) }

// parse reads the answer to XREADGROUP on a topic's stream and the retry stream of the group. Null has no entries.
func (rr *readReply) parse(reply, retry string) error {
	r := respReader{rest: reply}
	for n := r.list(); n > 0 && r.err == nil; n-- {
		if r.list() != 2 {
			r.fail()
		}
		src := fromTopic
		if r.text() == retry {
			src = fromRetry
		}
		rr.parseEntries(&r, src)
	}
	return r.err
}

func (rr *readReply) parseEntries(r *respReader, src source) {
	for n := r.list(); n > 0 && r.err == nil; n-- {
		if r.list() != 2 {
			r.fail()
		}
		id := r.text()
		rr.entries = append(rr.entries, entry{src: src, id: id, count: 1, fields: rr.parseFields(r).from(src)})
	}
}

func (rr *readReply) parseFields(r *respReader) fields {
	n := r.list()
	if n < 0 {
		return nil
	}
	if n == 0 {
		return fields{} // it has none, but is there
	}
	from := len(rr.fields)
	for ; n > 0 && r.err == nil; n -= 2 {
		rr.fields = append(rr.fields, field{r.text(), r.text()})
	}
	return rr.fields[from:len(rr.fields):len(rr.fields)].distinct()
}

// forget lets go of the reply.
func (rr *readReply) forget() {
	idle := len(rr.entries) == 0
	if !idle {
		rr.usual = len(rr.buffer) / len(rr.entries)
	}
	clear(rr.entries)
	clear(rr.fields)
	rr.entries, rr.fields, rr.buffer = rr.entries[:0], rr.fields[:0], rr.buffer[:0]
	if cap(rr.buffer) > 2*maxReply || idle && cap(rr.buffer) > smallBuffer {
		rr.buffer = nil
	}
}
