package codec

import (
	"encoding"
	"reflect"
	"strings"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// What the library asks of a type before it looks at its kind, in its order.
var (
	timeType     = reflect.TypeFor[time.Time]()
	decoderTypes = []reflect.Type{
		reflect.TypeFor[msgpack.CustomDecoder](), reflect.TypeFor[msgpack.Unmarshaler](),
		reflect.TypeFor[encoding.BinaryUnmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
	}
	encoderTypes = []reflect.Type{
		reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.Marshaler](),
		reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.TextMarshaler](),
	}
)

// decodesItself tells whether the library leaves decoding t to a method, or knows t by name.
func decodesItself(t reflect.Type) bool { return t == timeType || implementsAny(t, decoderTypes) }

// encodesItself is the same for encoding.
func encodesItself(t reflect.Type) bool { return t == timeType || implementsAny(t, encoderTypes) }

// writesItself tells whether a method writes the encoding of t, and so may write anything. What MarshalBinary and
// MarshalText return becomes binary, which is always sound.
func writesItself(t reflect.Type) bool { return implementsAny(t, encoderTypes[:2]) }

func implementsAny(t reflect.Type, ifaces []reflect.Type) bool {
	for _, iface := range ifaces {
		if t.Implements(iface) || reflect.PointerTo(t).Implements(iface) {
			return true
		}
	}
	return false
}

// A msgpackTag is what the library makes of the tags of a field.
type msgpackTag struct {
	skip   bool
	intern bool
	names  []string
}

func fieldTag(f reflect.StructField) msgpackTag {
	text := f.Tag.Get("msgpack")
	if text == "" {
		text = f.Tag.Get("json")
	}
	name, options, _ := strings.Cut(text, ",")
	if strings.Contains(name, ":") {
		name, options = "", text
	}
	tag := msgpackTag{skip: name == "-" || !f.IsExported() && !f.Anonymous}
	if name == "" {
		name = f.Name
	}
	tag.names = []string{name}
	for option := range strings.SplitSeq(options, ",") {
		tag.intern = tag.intern || option == "intern"
		if alias, ok := strings.CutPrefix(option, "alias:"); ok {
			tag.names = append(tag.names, alias)
		}
	}
	return tag
}
