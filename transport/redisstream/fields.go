package redisstream

import (
	"math/bits"
	"strconv"
	"strings"
)

// A field of an entry.
type field struct{ name, value string }

// fields are those of an entry, each name once; nil if the entry has been deleted.
type fields []field

// get is the value of a field, "" if there is none.
func (fs fields) get(name string) string {
	if i := fs.index(name); i >= 0 {
		return fs[i].value
	}
	return ""
}

// index is where a field stands, -1 if there is none.
func (fs fields) index(name string) int {
	for i := range fs {
		if fs[i].name == name {
			return i
		}
	}
	return -1
}

// few is up to how many fields looking for doubles one by one is faster than a map.
const few = 16

// distinct keeps the last of the fields that have one name: XADD takes a name twice.
func (fs fields) distinct() fields {
	if len(fs) <= few {
		return fs.distinctOfFew()
	}
	last := make(map[string]int, len(fs))
	for i := range fs {
		last[fs[i].name] = i
	}
	if len(last) == len(fs) {
		return fs
	}
	kept := fs[:0]
	for i := range fs {
		if last[fs[i].name] == i {
			kept = append(kept, fs[i])
		}
	}
	return kept
}

func (fs fields) distinctOfFew() fields {
	kept := fs[:0]
	for i := range fs {
		if fs[i+1:].index(fs[i].name) < 0 {
			kept = append(kept, fs[i])
		}
	}
	return kept
}

// fieldsOf reads a flat list of fields and values, as scripts return; nil stays nil.
func fieldsOf(v any) fields {
	l, ok := v.([]any)
	if !ok {
		return nil
	}
	fs := make(fields, 0, len(l)/2)
	for i := 0; i+1 < len(l); i += 2 {
		fs = append(fs, field{text(l[i]), text(l[i+1])})
	}
	return fs.distinct()
}

// fieldsIn are those of an entry that go-redis has read.
func fieldsIn(values map[string]any) fields {
	fs := make(fields, 0, len(values))
	for name, v := range values {
		fs = append(fs, field{name, text(v)})
	}
	return fs.unpacked()
}

// from is fs as an entry of src means it. Only those of the retry stream can be packed; anybody may write to the topic's.
func (fs fields) from(src source) fields {
	if src == fromRetry && fs != nil {
		return fs.unpacked()
	}
	return fs
}

// unpacked puts packed fields (scripts/lib.lua, short) in their place.
func (fs fields) unpacked() fields {
	var packed string
	kept := fs[:0]
	for _, f := range fs {
		if f.name == fieldFields {
			packed = f.value
			continue
		}
		kept = append(kept, f)
	}
	if packed == "" {
		return kept
	}
	var f field
	for ok := true; packed != ""; kept = append(kept, f) {
		if f.name, packed, ok = cutPacked(packed); !ok {
			break
		}
		if f.value, packed, ok = cutPacked(packed); !ok {
			break
		}
	}
	return kept.distinct()
}

// cutPacked cuts off one <length>:<bytes>.
func cutPacked(s string) (first, rest string, ok bool) {
	length, rest, _ := strings.Cut(s, ":")
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n > len(rest) {
		return "", "", false
	}
	return rest[:n], rest[n:], true
}

// kept are fields in one string: what is held is kept in one piece, and not in that of the whole read it came with.
type kept string

// keptSize is how much keep writes.
func keptSize(fs fields) (n int) {
	for i := range fs {
		n += textSize(fs[i].name) + textSize(fs[i].value)
	}
	return n
}

func keep(b *strings.Builder, fs fields) {
	for i := range fs {
		writeText(b, fs[i].name)
		writeText(b, fs[i].value)
	}
}

// textSize is how much writeText writes: the length, seven bits a byte, and the text.
func textSize(s string) int { return (bits.Len(uint(len(s))|1)+6)/7 + len(s) }

func writeText(b *strings.Builder, s string) {
	n := len(s)
	for ; n >= 0x80; n >>= 7 {
		b.WriteByte(byte(n) | 0x80)
	}
	b.WriteByte(byte(n))
	b.WriteString(s)
}

// appendTo appends the fields to fs, as parts of k.
func (k kept) appendTo(fs fields) fields {
	for rest := string(k); rest != ""; {
		var f field
		f.name, rest = cutText(rest)
		f.value, rest = cutText(rest)
		fs = append(fs, f)
	}
	return fs
}

// cutText cuts off what writeText has written.
func cutText(s string) (first, rest string) {
	n := 0
	for shift := 0; ; shift += 7 {
		b := s[0]
		s = s[1:]
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return s[:n], s[n:]
		}
	}
}
