package redisstream

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"unsafe"
)

// go-redis makes a map of each entry and boxes each value, which was most of what receiving cost. So the answer to XREADGROUP is
// read here, from the bytes that go-redis writes as they came: RESP2, or RESP3, in which the streams are a map.
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

// list begins an array or a map and returns how many values, or pairs of them, follow; -1 for null.
func (r *respReader) list() int {
	line := r.line()
	if line == "" {
		return -1
	}
	n, err := strconv.Atoi(line[1:])
	switch {
	case line[0] == '-':
		r.err, r.rest = replyError(strings.Clone(line[1:])), ""
	case line[0] == '!':
		if message := r.bytes(n, err); r.err == nil {
			r.err, r.rest = replyError(strings.Clone(message)), ""
		}
	case line[0] == '_':
	case (line[0] == '*' || line[0] == '%') && err == nil && n >= -1 && n <= len(r.rest):
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
	switch line[0] {
	case '$':
		return r.bytes(strconv.Atoi(line[1:]))
	case '+':
		return line[1:]
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

// A replyBuffer is where go-redis writes an answer. It is used again for each.
type replyBuffer []byte

func (b *replyBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// ReadFrom is how go-redis copies a string, of as many bytes as its reader is limited to.
func (b *replyBuffer) ReadFrom(r io.Reader) (int64, error) {
	l, ok := r.(*io.LimitedReader)
	if !ok {
		p, err := io.ReadAll(r)
		*b = append(*b, p...)
		return int64(len(p)), err
	}
	from := len(*b)
	if need := from + int(l.N); need > cap(*b) { // twice as large: append's quarter would copy a large answer five times
		*b = append(make([]byte, 0, max(need, 2*cap(*b))), *b...)
	}
	*b = (*b)[:from+int(l.N)]
	n, err := io.ReadFull(l.R, (*b)[from:])
	l.N -= int64(n)
	*b = (*b)[:from+n]
	return int64(n), err
}

// maxReply is about how large an answer may become, and how large a buffer is kept for the next one. COUNT is a number of entries:
// a thousand of a megabyte would be a gigabyte in one piece.
const maxReply = 1 << 20

// A readReply is what a read has brought. Its entries are parts of the buffer: they are good until forget.
type readReply struct {
	buffer  replyBuffer
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
	inPairs := strings.HasPrefix(reply, "*")
	for n := r.list(); n > 0 && r.err == nil; n-- {
		if inPairs && r.list() != 2 {
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
	if n := len(rr.entries); n > 0 {
		rr.usual = len(rr.buffer) / n
	}
	clear(rr.entries)
	clear(rr.fields)
	rr.entries, rr.fields, rr.buffer = rr.entries[:0], rr.fields[:0], rr.buffer[:0]
	if cap(rr.buffer) > 2*maxReply {
		rr.buffer = nil
	}
}
