package codec

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// plainness says for which types the coming encoding/json is known to do what the present one does.
type plainness struct{ encode, decode bool }

// plainJSON looks at a type once, when its codec is made. What differs, or may: json.Number, which the coming package does not know
// by that name; what is in an interface when it is encoded; and words in struct tags that only the coming package understands.
func plainJSON(t reflect.Type) plainness {
	p := plainness{true, true}
	p.look(t, map[reflect.Type]bool{})
	return p
}

func (p *plainness) look(t reflect.Type, seen map[reflect.Type]bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	switch {
	case t == reflect.TypeFor[json.Number]():
		*p = plainness{}
		return
	case hasJSONMethods(t):
		return // its methods do the same for both
	}
	switch t.Kind() {
	case reflect.Interface:
		p.encode = false
	case reflect.Pointer, reflect.Slice, reflect.Array:
		p.look(t.Elem(), seen)
	case reflect.Map:
		p.look(t.Key(), seen)
		p.look(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			p.lookAtField(t.Field(i), seen)
		}
	}
}

func (p *plainness) lookAtField(f reflect.StructField, seen map[reflect.Type]bool) {
	if tag, ok := f.Tag.Lookup("json"); ok && !plainTag(tag) {
		*p = plainness{}
		return
	}
	p.look(f.Type, seen)
}

// plainTag: a name of letters, digits and a few signs, and the options of encoding/json but "string".
func plainTag(tag string) bool {
	name, rest, _ := strings.Cut(tag, ",")
	options := strings.Split(rest, ",")
	return !slices.ContainsFunc(options, func(o string) bool { return o != "" && o != "omitempty" && o != "omitzero" }) &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:@$/") == ""
}

func hasJSONMethods(t reflect.Type) bool {
	for _, method := range []reflect.Type{
		reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
		reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
	} {
		if t.Kind() != reflect.Interface && (t.Implements(method) || reflect.PointerTo(t).Implements(method)) {
			return true
		}
	}
	return false
}
