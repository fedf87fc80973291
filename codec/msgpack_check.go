package codec

// What a body may be, at most. Each byte of it may become 128 bytes of Go value beyond the first 4 MiB: enough for any
// honest message, since an element of 1 KiB is rarely sent in 8 bytes.
const (
	maxDepth      = 64
	freeFootprint = 4 << 20
	footprintRate = 128
)

// internedString is the extension with which the library refers to strings that came earlier. Its decoder reads the
// payload as a value, which msgpackReader has to refuse; so it is refused here, with a better reason.
const internedString = -128

// A msgpackChecker walks a body without building anything, before the library, which believes every length that
// it reads: the five bytes dd ff ff ff ff make it allocate 64 GiB, and a million 0x91 exhaust the stack.
type msgpackChecker struct {
	body     []byte
	pos      int
	owed     int // values announced and not yet read, over all levels; each takes at least one byte
	budget   int // bytes that the value may still take
	payloads []int
}

// A finding says why a body was refused.
type finding struct {
	reason string
	offset int
}

// check returns nil if body is one value of shape s that is safe to decode. Afterwards payloads has the places where
// payloads of extensions start.
func (c *msgpackChecker) check(body []byte, s *shape) *finding {
	c.body, c.pos, c.owed, c.payloads = body, 0, 1, c.payloads[:0]
	c.budget = freeFootprint + footprintRate*len(body)
	f := c.value(s, 0)
	if f == nil && c.pos < len(body) {
		f = c.found("bytes follow the value")
	}
	c.body = nil
	return f
}

func (c *msgpackChecker) found(reason string) *finding {
	return &finding{reason: reason, offset: c.pos}
}

// value walks one value and all in it. s is nil where no account of memory is needed.
func (c *msgpackChecker) value(s *shape, depth int) *finding {
	tok, f := c.token()
	if f != nil {
		return f
	}
	for s != nil && s.pointsTo != nil {
		if (tok.kind != kindNil || s.lifts) && !c.spend(1, s.each) {
			return c.found("the value would take too much memory")
		}
		s = s.pointsTo
	}
	if tok.kind != kindArray && tok.kind != kindMap {
		return nil
	}
	if depth == maxDepth {
		return c.found("nested deeper than 64 levels")
	}
	if s != nil && !c.spend(tok.values, s.each) {
		return c.found("the value would take too much memory")
	}
	return c.elements(tok, s, depth+1)
}

// elements walks the elements of an array, or the keys and values of a map.
func (c *msgpackChecker) elements(tok token, s *shape, depth int) *finding {
	key := c.pos
	for i := range tok.values {
		of := s.element(tok.kind, i, c.body[key:c.pos])
		key = c.pos
		if of == nil && c.skipShort() {
			continue
		}
		if f := c.value(of, depth); f != nil {
			return f
		}
	}
	return nil
}

// skipShort walks a value whose code is all there is to read: small integers, nil, booleans and strings below 32
// bytes, most of what events consist of. Where it is false nothing has happened, and value finds out the rest: it
// is here only to save time.
func (c *msgpackChecker) skipShort() bool {
	if c.pos == len(c.body) {
		return false
	}
	n := 1
	switch b := c.body[c.pos]; {
	case b <= 0x7f || b >= 0xe0 || b == 0xc0 || b == 0xc2 || b == 0xc3:
	case b >= 0xa0 && b <= 0xbf:
		n += int(b & 0x1f)
	default:
		return false
	}
	if n > len(c.body)-c.pos-(c.owed-1) {
		return false
	}
	c.pos += n
	c.owed--
	return true
}

// token reads one token with its payload, and checks that what it announces can be there.
func (c *msgpackChecker) token() (token, *finding) {
	tok, ok := readToken(c.body[c.pos:])
	if !ok {
		return tok, c.found("the body ends too early, or has a byte that MessagePack does not use")
	}
	rest := len(c.body) - c.pos - tok.head
	c.owed--
	if tok.payload+tok.values > rest-c.owed {
		return tok, c.found("announces more than the bytes that are there")
	}
	if tok.kind == kindExtension && tok.ext == internedString {
		return tok, c.found("interned strings are not supported")
	}
	if tok.kind == kindExtension && tok.payload > 0 {
		c.payloads = append(c.payloads, c.pos+tok.head)
	}
	c.owed += tok.values
	c.pos += tok.head + tok.payload
	return tok, nil
}

// spend takes n times each bytes from the budget, and is false if that is too much.
func (c *msgpackChecker) spend(n, each int) bool {
	if each > 0 && n > c.budget/each {
		return false
	}
	c.budget -= n * each
	return true
}
