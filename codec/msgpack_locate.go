package codec

import "strings"

// A place in a body, as errors tell it.
type place struct {
	path   string // names of fields, as "items.price"
	kind   kind   // of the value there
	offset int    // where it starts
}

// locate finds the value of a checked body that holds the byte at offset. The path has only names that are in names:
// any other key is payload.
func locate(body []byte, offset int, names map[string]bool) place {
	l := locator{body: body, target: offset, names: names}
	l.value(nil)
	return l.at
}

type locator struct {
	body   []byte
	pos    int
	target int
	names  map[string]bool
	at     place
}

// value walks one value; path leads to it.
func (l *locator) value(path []string) {
	tok, ok := readToken(l.body[l.pos:])
	if !ok || l.pos > l.target {
		l.pos = len(l.body)
		return
	}
	l.at = place{path: strings.Join(path, "."), kind: tok.kind, offset: l.pos}
	l.pos += tok.head + tok.payload
	for i := 0; i < tok.values && l.pos <= l.target; i++ {
		key := l.pos
		l.value(path)
		if tok.kind == kindMap && l.pos <= l.target {
			i++
			l.value(l.below(path, l.body[key:l.pos]))
		}
	}
}

// below adds the name that key encodes to path, if it is one.
func (l *locator) below(path []string, key []byte) []string {
	tok, _ := readToken(key)
	if name := string(key[tok.head:]); tok.kind == kindString && l.names[name] {
		return append(path[:len(path):len(path)], name)
	}
	return path
}
