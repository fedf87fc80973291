package codec

import "encoding/binary"

// A token is the head of one MessagePack value: all of a scalar, and of a container what stands before its elements.
type token struct {
	kind    kind
	head    int  // bytes of code and length
	payload int  // bytes of payload: strings, binary, extensions
	values  int  // values that follow: elements, keys and values
	ext     int8 // type of an extension
}

// A kind is what a value is; kindNone is not one.
type kind uint8

const (
	kindNone kind = iota
	kindNil
	kindBool
	kindInt
	kindFloat
	kindString
	kindBinary
	kindArray
	kindMap
	kindExtension
)

// String is how errors call it.
func (k kind) String() string {
	return [...]string{"value", "nil", "bool", "integer", "float", "string", "binary", "array", "map", "extension"}[k]
}

// readToken reads the token that body starts with. It is false when body ends within the code or the length, or starts
// with the code that MessagePack does not use; payload and values may still be missing.
func readToken(body []byte) (token, bool) {
	if len(body) == 0 {
		return token{}, false
	}
	switch c := body[0]; {
	case c <= 0x7f || c >= 0xe0:
		return token{kind: kindInt, head: 1}, true
	case c <= 0x8f:
		return token{kind: kindMap, head: 1, values: 2 * int(c&0x0f)}, true
	case c <= 0x9f:
		return token{kind: kindArray, head: 1, values: int(c & 0x0f)}, true
	case c <= 0xbf:
		return token{kind: kindString, head: 1, payload: int(c & 0x1f)}, true
	default:
		return readLongToken(c, body[1:])
	}
}

// longTokens is the table of the codes 0xc0 to 0xdf.
var longTokens = [32]struct {
	kind  kind
	width uint8 // bytes of length; of the value for numbers
	fixed uint8 // length where it is in the code
}{
	{kindNil, 0, 0}, {}, {kindBool, 0, 0}, {kindBool, 0, 0},
	{kindBinary, 1, 0}, {kindBinary, 2, 0}, {kindBinary, 4, 0},
	{kindExtension, 1, 0}, {kindExtension, 2, 0}, {kindExtension, 4, 0},
	{kindFloat, 4, 0}, {kindFloat, 8, 0},
	{kindInt, 1, 0}, {kindInt, 2, 0}, {kindInt, 4, 0}, {kindInt, 8, 0},
	{kindInt, 1, 0}, {kindInt, 2, 0}, {kindInt, 4, 0}, {kindInt, 8, 0},
	{kindExtension, 0, 1}, {kindExtension, 0, 2}, {kindExtension, 0, 4}, {kindExtension, 0, 8}, {kindExtension, 0, 16},
	{kindString, 1, 0}, {kindString, 2, 0}, {kindString, 4, 0},
	{kindArray, 2, 0}, {kindArray, 4, 0},
	{kindMap, 2, 0}, {kindMap, 4, 0},
}

func readLongToken(code byte, rest []byte) (token, bool) {
	long := longTokens[code-0xc0]
	width := int(long.width)
	tok := token{kind: long.kind, head: 1 + width}
	if tok.kind == kindNone || len(rest) < width {
		return token{}, false
	}
	switch tok.kind {
	case kindArray:
		tok.values = bigEndian(rest[:width])
	case kindMap:
		tok.values = 2 * bigEndian(rest[:width])
	case kindString, kindBinary:
		tok.payload = bigEndian(rest[:width])
	case kindExtension:
		if len(rest) == width {
			return token{}, false
		}
		tok.payload = int(long.fixed) + bigEndian(rest[:width])
		tok.ext = int8(rest[width])
		tok.head++
	}
	return tok, true
}

// bigEndian is the number in b, of at most four bytes. On 32 bits the largest are cut to what an int holds half of, so
// that twice a length cannot wrap around.
func bigEndian(b []byte) int {
	switch len(b) {
	case 1:
		return int(b[0])
	case 2:
		return int(binary.BigEndian.Uint16(b))
	case 4:
		const most = int(^uint(0) >> 2)
		return int(min(uint64(binary.BigEndian.Uint32(b)), uint64(most)))
	}
	return 0
}
