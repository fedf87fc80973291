package redisstream

import (
	"bytes"
	"context"
	"strconv"
	"time"
)

// ask sends a request and appends its answer to buf, before the deadline of ctx, and says when the answer began to come in: what it
// says was so then at the latest, however long it is. go-redis makes the connection and speaks on it at other times, but would copy
// an answer text by text, with an allocation for each. After an error the connection is of no more use.
func (c *readConn) ask(ctx context.Context, request, buf []byte) (answer []byte, came time.Time, err error) {
	until, _ := ctx.Deadline()
	if err := c.socket.SetDeadline(until); err != nil {
		return buf, came, err
	}
	defer c.socket.SetDeadline(time.Time{}) // go-redis may be told to set none (WriteTimeout -2), and would meet this one
	if _, err := c.socket.Write(request); err != nil {
		return buf, came, err
	}
	for end := (answerEnd{open: 1}); ; {
		buf = withRoom(buf, end.wants)
		n, err := c.socket.Read(buf[len(buf):cap(buf)])
		if came.IsZero() {
			came = time.Now()
		}
		buf = buf[:len(buf)+n]
		over, bad := end.in(buf)
		if over || bad != nil {
			return buf, came, bad
		}
		if err != nil {
			return buf, came, err
		}
	}
}

// smallBuffer is enough for a few events. A subscription that has nothing to do waits with it.
const smallBuffer = 4 << 10

// withRoom returns buf with room for total bytes and some more.
func withRoom(buf []byte, total int) []byte {
	if len(buf) < cap(buf) && total <= cap(buf) {
		return buf
	}
	return append(make([]byte, 0, max(total, 2*cap(buf), smallBuffer)), buf...) // append's quarter would copy a large answer five times
}

// appendCommand appends what a client sends for a command.
func appendCommand(b []byte, words ...string) []byte {
	b = appendLength(b, '*', len(words))
	for _, w := range words {
		b = appendLength(b, '$', len(w))
		b = append(append(b, w...), "\r\n"...)
	}
	return b
}

func appendLength(b []byte, kind byte, n int) []byte {
	return append(strconv.AppendInt(append(b, kind), int64(n), 10), "\r\n"...)
}

// An answerEnd finds where an answer ends, while it comes in.
type answerEnd struct {
	at    int // up to here it was looked at
	open  int // values that are to come
	wants int // how many bytes it has at least
}

// in says whether an answer is all in buf, which has grown since the last call. Nothing may follow it.
func (e *answerEnd) in(buf []byte) (over bool, err error) {
	for e.open > 0 {
		n := bytes.IndexByte(buf[e.at:], '\n')
		if n < 0 {
			return false, nil
		}
		next, more, err := valueAt(buf, e.at, e.at+n+1)
		if err != nil {
			return false, err
		}
		if e.wants = next; next > len(buf) {
			return false, nil
		}
		e.at, e.open = next, e.open-1+more
	}
	if e.at < len(buf) {
		return false, errReply
	}
	return true, nil
}

// valueAt says where the value whose first line is from start to end ends, and how many others it has in it.
func valueAt(buf []byte, start, end int) (next, more int, err error) {
	line := bytes.TrimSuffix(buf[start:end], []byte("\r\n"))
	if len(line) == 0 || len(line) > end-start-2 {
		return 0, 0, errReply
	}
	switch line[0] {
	case '+', '-', ':':
		return end, 0, nil
	case '$', '*':
		n, err := strconv.Atoi(string(line[1:]))
		switch {
		case err != nil || n < -1 || n > maxBulk:
			return 0, 0, errReply
		case n < 0:
			return end, 0, nil
		case line[0] == '$':
			return end + n + 2, 0, nil
		}
		return end, n, nil
	}
	return 0, 0, errReply
}

// maxBulk is the largest text that Redis takes by itself (proto-max-bulk-len).
const maxBulk = 512 << 20
