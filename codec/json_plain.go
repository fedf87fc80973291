package codec

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
)

// plain is for types of which the coming encoding/json is known to do what the present one does: basic types, times, and slices,
// arrays, pointers, maps and structs of them. All others, as those with methods of their own, are left to the present one.
type plain struct {
	is    bool
	timed bool // there are times in it
}

// plainJSON looks at a type once, when its codec is made.
func plainJSON(t reflect.Type) plain {
	p := plain{is: true}
	p.look(t, map[reflect.Type]bool{})
	return p
}

func (p *plain) look(t reflect.Type, seen map[reflect.Type]bool) {
	if t == reflect.TypeFor[time.Time]() {
		p.timed = true
		return
	}
	if seen[t] || !p.is {
		return
	}
	seen[t] = true
	p.is = !isSpecial(t)
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
	case reflect.Pointer, reflect.Slice, reflect.Array:
		p.look(t.Elem(), seen)
	case reflect.Map:
		p.is = p.is && t.Key().Kind() == reflect.String && !isSpecial(t.Key())
		p.look(t.Elem(), seen)
	case reflect.Struct:
		p.lookAtFields(t, seen)
	default:
		p.is = false
	}
}

func (p *plain) lookAtFields(t reflect.Type, seen map[reflect.Type]bool) {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		name = cmp.Or(name, f.Name)
		switch {
		case f.Anonymous, !plainName(name), !plainOptions(options):
			p.is = tag == "-" && p.is
		case !f.IsExported() || tag == "-":
		// Which of two fields a name in a third case belongs to is decided otherwise.
		case slices.ContainsFunc(names, func(other string) bool { return strings.EqualFold(name, other) }):
			p.is = false
		default:
			names = append(names, name)
			p.look(f.Type, seen)
		}
	}
}

// plainName: the coming package understands quotation marks, and both take some characters for others.
func plainName(name string) bool {
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:@$/") == ""
}

// plainOptions: the coming package knows more of them.
func plainOptions(options string) bool {
	return options == "" || options == "omitempty" || options == "omitzero"
}

// isSpecial says whether a type has a say in how it is written or read, for one of the packages at least.
func isSpecial(t reflect.Type) bool {
	return t == reflect.TypeFor[json.Number]() ||
		has[json.Marshaler](t) || has[json.Unmarshaler](t) ||
		has[encoding.TextMarshaler](t) || has[encoding.TextUnmarshaler](t) || has[encoding.TextAppender](t) ||
		has[jsonv2.MarshalerTo](t) || has[jsonv2.UnmarshalerFrom](t)
}

func has[I any](t reflect.Type) bool {
	i := reflect.TypeFor[I]()
	return t.Implements(i) || reflect.PointerTo(t).Implements(i)
}

// decodes says whether body may be left to the coming package, which reads times with escapes that the present one refuses.
func (p plain) decodes(body []byte) bool {
	return p.is && !(p.timed && bytes.Contains(body, []byte(`\u00`)))
}

// encoded says whether out is what the present package writes too, which writes invalid UTF-8 as an escape.
func (p plain) encoded(out []byte) bool { return !bytes.Contains(out, []byte("\ufffd")) }
