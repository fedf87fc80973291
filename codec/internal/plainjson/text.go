package plainjson

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// text reads a string, whose opening quotation mark is next. The result is valid until the next text is read.
func (r *reader) text() []byte {
	start := r.at + 1
	i := start + plainLen(r.data[start:])
	if i < len(r.data) && r.data[i] == '"' {
		r.at = i + 1
		return r.data[start:i]
	}
	return r.richText(start, i)
}

// richText reads a string with other characters than ASCII, from start to its end; before i there are none.
func (r *reader) richText(start, i int) []byte {
	for ; i < len(r.data); i++ {
		switch c := r.data[i]; {
		case !stops[c]:
		case c == '"':
			r.at = i + 1
			return r.valid(r.data[start:i])
		case c == '\\':
			return r.escapedText(start, i)
		default: // a control character
			r.refuse()
			return nil
		}
	}
	r.refuse()
	return nil
}

// stops are the bytes that do not stand for themselves in a string.
var stops = func() (s [256]bool) {
	for c := range byte(' ') {
		s[c] = true
	}
	s['"'], s['\\'] = true, true
	return s
}()

// plainLen says how many bytes at the beginning of b are ASCII and stand for themselves. It looks at eight at a time, as one number:
// the highest bit of each byte tells whether it is something else, for it stays in at least one term if it was there before. Above the
// first such byte the bits may be wrong.
func plainLen(b []byte) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		found := ((x - ' '*ones) | ((x ^ '"'*ones) - ones) | ((x ^ '\\'*ones) - ones)) & high
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && b[i] < utf8.RuneSelf && !stops[b[i]] {
		i++
	}
	return i
}

// valid refuses text that is not UTF-8, of which encoding/json changes some.
func (r *reader) valid(text []byte) []byte {
	if !utf8.Valid(text) {
		r.refuse()
		return nil
	}
	return text
}

// escapedText reads a string from start to its end; the first backslash is at i.
func (r *reader) escapedText(start, i int) []byte {
	r.scratch = append(r.scratch[:0], r.data[start:i]...)
	for i < len(r.data) {
		c := r.data[i]
		switch {
		case c == '\\':
			i = r.escape(i + 1)
			continue
		case c == '"':
			r.at = i + 1
			return r.valid(r.scratch)
		case c < ' ':
			r.refuse()
			return nil
		}
		r.scratch = append(r.scratch, c)
		i++
	}
	r.refuse()
	return nil
}

// plainEscapes is what escapes of one letter stand for.
var plainEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads what follows a backslash into scratch and returns where it ends.
func (r *reader) escape(i int) int {
	if i >= len(r.data) {
		r.refuse()
		return i
	}
	if c := plainEscapes[r.data[i]]; c != 0 {
		r.scratch = append(r.scratch, c)
		return i + 1
	}
	c, ok := r.hex(i)
	i += len("uXXXX")
	if ok && utf16.IsSurrogate(c) {
		var low rune
		if i < len(r.data) && r.data[i] == '\\' {
			low, ok = r.hex(i + 1)
		}
		c = utf16.DecodeRune(c, low)
		ok = ok && c != utf8.RuneError
		i += len(`\uXXXX`)
	}
	if !ok {
		r.refuse()
		return i
	}
	r.scratch = utf8.AppendRune(r.scratch, c)
	return i
}

// hex reads uXXXX.
func (r *reader) hex(i int) (c rune, ok bool) {
	if len(r.data) < i+5 || r.data[i] != 'u' {
		return 0, false
	}
	for _, b := range r.data[i+1 : i+5] {
		switch {
		case '0' <= b && b <= '9':
			c = c<<4 | rune(b-'0')
		case 'a' <= b|0x20 && b|0x20 <= 'f':
			c = c<<4 | rune(b|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return c, true
}
