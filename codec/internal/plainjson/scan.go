package plainjson

// A reader goes over a body once. After a refusal the body seems to be at its end, which ends all loops.
type reader struct {
	data    []byte
	at      int
	depth   int
	refused bool
	scratch []byte // of texts with escapes
}

func (r *reader) refuse() {
	r.refused = true
	r.data = nil
	r.at = 0
}

// peek skips white space and returns what follows, 0 at the end.
func (r *reader) peek() byte {
	for i := r.at; i < len(r.data); i++ {
		switch c := r.data[i]; c {
		case ' ', '\t', '\r', '\n':
		default:
			r.at = i
			return c
		}
	}
	r.at = len(r.data)
	return 0
}

// end refuses when something follows.
func (r *reader) end() {
	r.peek()
	if r.at < len(r.data) {
		r.refuse()
	}
}

// first steps over the bracket that opens a list and says whether there is an element.
func (r *reader) first(closing byte) bool {
	r.at++
	if r.peek() == closing {
		r.at++
		return false
	}
	return true
}

// more steps over what follows an element and says whether there is another one.
func (r *reader) more(closing byte) bool {
	switch r.peek() {
	case ',':
		r.at++
		return true
	case closing:
		r.at++
		return false
	}
	r.refuse()
	return false
}

// key reads the key of a member and the colon. It is valid until the next text is read.
func (r *reader) key() []byte {
	if r.peek() != '"' {
		r.refuse()
		return nil
	}
	key := r.text()
	if r.peek() != ':' {
		r.refuse()
		return nil
	}
	r.at++
	return key
}

// word steps over true, false or null.
func (r *reader) word(w string) {
	if len(r.data)-r.at < len(w) || string(r.data[r.at:r.at+len(w)]) != w {
		r.refuse()
		return
	}
	r.at += len(w)
}

// enter counts how deep it is, and refuses when that is too deep.
func (r *reader) enter() bool {
	r.depth++
	if r.depth > maxDepth {
		r.refuse()
		return false
	}
	return true
}

// skip reads a value that nobody wants.
func (r *reader) skip() {
	switch c := r.peek(); c {
	case '"':
		r.text()
	case 't':
		r.word("true")
	case 'f':
		r.word("false")
	case 'n':
		r.word("null")
	case '[', '{':
		if r.enter() {
			r.skipList(c)
		}
		r.depth--
	default:
		r.number()
	}
}

func (r *reader) skipList(opening byte) {
	closing := opening + 2 // of both [ and {
	for more := r.first(closing); more; more = r.more(closing) {
		if opening == '{' {
			r.key()
		}
		r.skip()
	}
}
