package plainjson

import "strconv"

// number reads the text of a number.
func (r *reader) number() []byte {
	start := r.at
	if r.now() == '-' {
		r.at++
	}
	if r.now() == '0' {
		r.at++
	} else {
		r.digits()
	}
	if r.now() == '.' {
		r.at++
		r.digits()
	}
	if c := r.now(); c == 'e' || c == 'E' {
		r.at++
		if c := r.now(); c == '+' || c == '-' {
			r.at++
		}
		r.digits()
	}
	if r.refused {
		return nil
	}
	return r.data[start:r.at]
}

// now is the next byte, 0 at the end.
func (r *reader) now() byte {
	if r.at < len(r.data) {
		return r.data[r.at]
	}
	return 0
}

// digits steps over one digit or more.
func (r *reader) digits() {
	i := r.at
	for i < len(r.data) && '0' <= r.data[i] && r.data[i] <= '9' {
		i++
	}
	if i == r.at {
		r.refuse()
		return
	}
	r.at = i
}

// integer reads a whole number.
func (r *reader) integer() int64 {
	text := r.number()
	if len(text) == 0 || len(text) > 18 {
		return r.long(text)
	}
	n, rest := int64(0), text
	if text[0] == '-' {
		rest = text[1:]
	}
	for _, c := range rest {
		if c < '0' || c > '9' {
			r.refuse()
			return 0
		}
		n = 10*n + int64(c-'0')
	}
	if text[0] == '-' {
		return -n
	}
	return n
}

// long converts what may not fit.
func (r *reader) long(text []byte) int64 {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		r.refuse()
	}
	return n
}

func (r *reader) unsigned() uint64 {
	n, err := strconv.ParseUint(string(r.number()), 10, 64)
	if err != nil {
		r.refuse()
	}
	return n
}

func (r *reader) float(bits int) float64 {
	f, err := strconv.ParseFloat(string(r.number()), bits)
	if err != nil {
		r.refuse()
	}
	return f
}
