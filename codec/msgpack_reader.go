package codec

import (
	"errors"
	"io"
)

var errPayload = errors.New("codec: the payload of an extension is not read as bytes")

// A msgpackReader reads a body, and refuses to let the payload of an extension be taken for values. The library does
// that where it expects a map and meets an extension: it skips its header and reads on in the payload, which no check
// has seen, so that a timestamp could announce four billion elements.
type msgpackReader struct {
	body     []byte
	pos      int
	last     int   // where the last single byte was read: the first byte of a value is always read so
	payloads []int // where the payloads of extensions start, ascending
}

// ReadByte reads what the library takes for the first byte of a value, or part of a header.
func (r *msgpackReader) ReadByte() (byte, error) {
	if r.pos >= len(r.body) {
		return 0, io.EOF
	}
	for len(r.payloads) > 0 && r.payloads[0] < r.pos {
		r.payloads = r.payloads[1:]
	}
	if len(r.payloads) > 0 && r.payloads[0] == r.pos {
		return 0, errPayload
	}
	r.last = r.pos
	r.pos++
	return r.body[r.last], nil
}

func (r *msgpackReader) UnreadByte() error {
	if r.pos == 0 {
		return io.ErrNoProgress
	}
	r.pos--
	return nil
}

// Read reads strings, numbers and payloads.
func (r *msgpackReader) Read(p []byte) (int, error) {
	if r.pos >= len(r.body) && len(p) > 0 {
		return 0, io.EOF
	}
	n := copy(p, r.body[r.pos:])
	r.pos += n
	return n, nil
}
