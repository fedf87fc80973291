package plainjson

import "unicode/utf8"

// text appends s as encoding/json does when it need not be safe in HTML.
func (w *writer) text(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := len(dst)
	dst = append(dst, s...)
	if i := plainLen(dst[start:]); i < len(s) {
		dst = w.richText(dst[:start+i], s[i:])
	}
	return append(dst, '"')
}

// richText appends text that needs escapes or is not all ASCII.
func (w *writer) richText(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			dst = appendASCII(dst, c)
			i++
			continue
		}
		c, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			w.refused = true
			return dst
		case c == '\u2028' || c == '\u2029': // not allowed in JavaScript's strings
			dst = append(dst, `\u202`...)
			dst = append(dst, hexDigits[c&0xf])
		default:
			dst = append(dst, s[i:i+size]...)
		}
		i += size
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// escapeOf has the letters of the escapes that encoding/json writes.
var escapeOf = [256]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

func appendASCII(dst []byte, c byte) []byte {
	switch {
	case !stops[c]:
		return append(dst, c)
	case escapeOf[c] != 0:
		return append(dst, '\\', escapeOf[c])
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}
