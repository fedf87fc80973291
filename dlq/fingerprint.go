package dlq

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Fingerprint replaces in an error text what differs from one event to the next: numbers, durations, hex, UUIDs and other
// ids, addresses and timestamps become #, quoted strings become "". So "timeout after 31ms on 10.0.0.7" and "timeout after 1.2s
// on 10.0.0.8" are both "timeout after # on #". It is for sorting letters into groups: what it makes of a text may change with
// a version. That of no text is "(none)".
func Fingerprint(text string) string {
	if text == "" {
		return none
	}
	p := printer{in: text, out: make([]byte, 0, len(text))}
	for p.at < len(p.in) {
		p.step()
	}
	return string(p.out)
}

// A printer reads in from at on and writes out, which never grows longer than what was read.
type printer struct {
	in    string
	at    int
	out   []byte
	stray [256]bool // quotes that nothing further on closes
}

func (p *printer) step() {
	rest := p.in[p.at:]
	c := rest[0]
	switch {
	case (c == '"' || c == '`' || c == '\'') && p.quoted(c):
	case c == '#':
		p.number(1)
	case isAlnum(c) || strings.HasPrefix(rest, "::"):
		p.word(rest)
	default:
		p.copy(1)
	}
}

func (p *printer) copy(n int) {
	p.out = append(p.out, p.in[p.at:p.at+n]...)
	p.at += n
}

// number reads n bytes and writes #, as one with a number just before: an address, a date and a list are one each.
func (p *printer) number(n int) {
	p.at += n
	p.dropSign()
	switch end := len(p.out); {
	case p.endsWith("#"):
	case end >= 2 && p.out[end-2] == '#' && strings.IndexByte(".:-/,_+ ", p.out[end-1]) >= 0:
		p.out = p.out[:end-1]
	case p.endsWith("#, "), p.endsWith("#  "):
		p.out = p.out[:end-2]
	default:
		p.out = append(p.out, '#')
	}
}

func (p *printer) endsWith(s string) bool {
	return strings.HasSuffix(string(p.out[max(0, len(p.out)-len(s)):]), s)
}

// dropSign takes a sign back that belongs to the number that follows.
func (p *printer) dropSign() {
	end := len(p.out)
	if end == 0 || p.out[end-1] != '-' && p.out[end-1] != '+' {
		return
	}
	if end == 1 || strings.IndexByte(" =([", p.out[end-2]) >= 0 {
		p.out = p.out[:end-1]
	}
}

// quoted reads a quoted string and writes its quotes. An apostrophe within a word quotes nothing.
func (p *printer) quoted(quote byte) bool {
	if p.stray[quote] || quote == '\'' && p.at > 0 && isWord(p.in[p.at-1]) {
		return false
	}
	for i := p.at + 1; i < len(p.in); i++ {
		switch {
		case p.in[i] == '\\' && quote != '`':
			i++
		case p.in[i] == quote && (quote != '\'' || i+1 == len(p.in) || !isWord(p.in[i+1])):
			p.at = i + 1
			p.out = append(p.out, quote, quote)
			return true
		}
	}
	p.stray[quote] = true
	return false
}

// word reads letters and digits, and what belongs to them.
func (p *printer) word(rest string) {
	n := span(rest, isAlnum)
	near := rest[:min(len(rest), longest)] // a long text must not be read again from each of its words
	for _, length := range []func(string) int{uuid, colons, duration, exponent} {
		if n := length(near); n > 0 && (n == len(rest) || !isAlnum(rest[n])) {
			p.number(n)
			return
		}
	}
	switch run := rest[:n]; {
	case n == 0: // a colon
		p.copy(2)
	case isID(run), p.isDate(run, rest[n:]):
		p.number(n)
	default:
		p.mixed(run)
	}
}

// longest is the length of the longest thing that is more than one word.
const longest = 64

// mixed writes a word and # for the digits in it.
func (p *printer) mixed(run string) {
	for len(run) > 0 {
		n := span(run, isDigit)
		if n > 0 {
			p.number(n)
		} else {
			n = span(run, isLetter)
			p.copy(n)
		}
		run = run[n:]
	}
}

// uuid returns how long the UUID is with which s begins; 0 if it does not. So do its neighbours.
func uuid(s string) int {
	const form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	if len(s) < len(form) {
		return 0
	}
	for i := range len(form) {
		if form[i] == '-' && s[i] != '-' || form[i] == 'x' && !isHex(s[i]) {
			return 0
		}
	}
	return len(form)
}

// colons is for IPv6 and MAC addresses and times of day: groups of up to four hex digits with two colons at least.
func colons(s string) int {
	n := span(s, func(c byte) bool { return isHex(c) || c == ':' || c == '.' })
	for n > 0 && s[n-1] == '.' {
		n--
	}
	count, digits, group := 0, 0, 0
	for _, c := range []byte(s[:n]) {
		group++
		switch {
		case c == ':':
			count++
			group = 0
		case c == '.':
			group = 0
		case isDigit(c):
			digits++
		}
		if group > 4 {
			return 0
		}
	}
	if count < 2 || digits == 0 && count < 5 || s[n-1] == ':' && !strings.HasSuffix(s[:n], "::") {
		return 0
	}
	return n
}

var units = []string{"ns", "us", "µs", "μs", "ms", "s", "m", "h"}

// duration is for what time.Duration writes, "1m30.5s".
func duration(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		digits := span(s[n:], func(c byte) bool { return isDigit(c) || c == '.' })
		i := slices.IndexFunc(units, func(u string) bool { return strings.HasPrefix(s[n+digits:], u) })
		if i < 0 {
			return 0
		}
		n += digits + len(units[i])
	}
	return n
}

// exponent is for "1e-05".
func exponent(s string) int {
	n := span(s, isDigit)
	if n == 0 || n+2 >= len(s) || s[n]|0x20 != 'e' || s[n+1] != '-' && s[n+1] != '+' {
		return 0
	}
	digits := span(s[n+2:], isDigit)
	if digits == 0 {
		return 0
	}
	return n + 2 + digits
}

// isID is for numbers, hex, the pieces of ISO dates, and long words with digits strewn in.
func isID(run string) bool {
	if hex, ok := strings.CutPrefix(run, "0x"); ok && hex != "" && span(hex, isHex) == len(hex) {
		return true
	}
	var letters, digits, turns int
	for i := range len(run) {
		if isDigit(run[i]) {
			digits++
		} else {
			letters++
		}
		if i > 0 && isDigit(run[i]) != isDigit(run[i-1]) {
			turns++
		}
	}
	switch {
	case letters == 0:
		return true
	case span(run, isHex) == len(run):
		return len(run) >= 8 || len(run) >= 4 && turns >= 2 // db12 is no hex
	case len(run) >= 12 && turns >= 2:
		return true
	}
	day, hour, _ := strings.Cut(strings.TrimSuffix(run, "Z"), "T")
	return isDigit(run[0]) && allDigits(day) && allDigits(hour)
}

func allDigits(s string) bool { return span(s, isDigit) == len(s) }

const (
	names    = "Mon Tue Wed Thu Fri Sat Sun Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
	nameSize = 3
)

func isName(s string) bool { return len(s) == nameSize && strings.Contains(names, s) }

// isDate is for the names of days and months beside numbers.
func (p *printer) isDate(run, rest string) bool {
	if !isName(run) {
		return false
	}
	beside := func(c byte) bool { return strings.IndexByte(" ,-/", c) >= 0 }
	if end := len(p.out); end >= 2 && p.out[end-2] == '#' && beside(p.out[end-1]) {
		return true
	}
	n := span(rest[:min(len(rest), 2)], beside)
	rest = rest[n:]
	return n > 0 && rest != "" && (isDigit(rest[0]) || rest[0] == '#' || len(rest) >= nameSize && isName(rest[:nameSize]))
}

// span returns how many bytes at the beginning of s are of a kind.
func span(s string, is func(byte) bool) int {
	for i := range len(s) {
		if !is(s[i]) {
			return i
		}
	}
	return len(s)
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isAlnum(c byte) bool  { return isDigit(c) || isLetter(c) }
func isHex(c byte) bool    { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// isWord says whether an apostrophe beside c may be one.
func isWord(c byte) bool { return isAlnum(c) || c == '#' || c >= utf8.RuneSelf }
