package codec

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/typedbus/typedbus/codec/internal/plainjson"
)

const jsonType = "application/json"

// JSON returns a codec for T over encoding/json, with its rules for struct tags and methods. It writes and reads
// application/json; a structured suffix, as in application/cloudevents+json, is another format and refused.
//
// The characters <, > and & are written as they are, not as \u003c: bodies are data, not web pages. Unknown fields
// are ignored, so that producers may add some. Of duplicate keys the last one wins, and keys match fields in any case,
// as encoding/json has it. Nesting beyond its limit of 10,000 levels is an error.
//
// Append fails with [*EncodeError] for NaN, infinities, channels, functions, complex numbers, values that contain
// themselves, and whenever a Marshal method fails. Decode fails with [*DecodeError] or [*ContentTypeError]. The codec
// may be used concurrently.
func JSON[T any]() Codec[T] {
	program, isPlain := plainjson.Compile(reflect.TypeFor[T]())
	if !isPlain {
		return jsonCodec[T]{}
	}
	return jsonCodec[T]{program, &sync.Pool{New: func() any { return new(jsonScratch[T]) }}}
}

// A jsonCodec has a program if T is a plain type. What that refuses encoding/json is asked about: it has the last word, and says why
// in the errors people know.
type jsonCodec[T any] struct {
	program *plainjson.Program
	scratch *sync.Pool
}

// A jsonScratch spares Append allocations: of the value, which is on the heap for the sake of reflection, and of the steps in which
// the output would grow.
type jsonScratch[T any] struct {
	value T
	out   []byte
}

// maxScratch is the largest output that is kept, in bytes.
const maxScratch = 64 << 10

func (jsonCodec[T]) ContentType() string { return jsonType }

func (c jsonCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	if c.program != nil {
		if out, ok := c.appendPlain(dst, v); ok {
			return out, nil
		}
	}
	return appendStandard(dst, v)
}

func (c jsonCodec[T]) appendPlain(dst []byte, v T) (out []byte, ok bool) {
	s := c.scratch.Get().(*jsonScratch[T])
	s.value = v
	if dst == nil {
		if s.out, ok = c.program.Append(s.out[:0], reflect.ValueOf(&s.value).Elem()); ok {
			out = slices.Clone(s.out)
		}
	} else {
		out, ok = c.program.Append(dst, reflect.ValueOf(&s.value).Elem())
	}
	s.value = *new(T) // or the pool would keep what it points to
	if cap(s.out) <= maxScratch {
		c.scratch.Put(s)
	}
	return out, ok
}

func appendStandard[T any](dst []byte, v T) ([]byte, error) {
	var w jsonWriter
	enc := json.NewEncoder(&w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&v); err != nil { // by its address, or methods with a pointer receiver are not found
		return dst, jsonEncodeError(reflect.TypeFor[T](), err)
	}
	return append(dst, w.out[:len(w.out)-1]...), nil // Encode ends with a newline
}

func (c jsonCodec[T]) Decode(contentType string, body []byte) (T, error) {
	var v, none T
	if err := c.DecodeInto(contentType, body, &v); err != nil {
		return none, err
	}
	return v, nil
}

// DecodeInto is Decode where the value shall be. It must be zero, and says nothing after an error. Package bus looks for this
// method: it spares an event an allocation.
func (c jsonCodec[T]) DecodeInto(contentType string, body []byte, v *T) error {
	if err := Accept(contentType, jsonType); err != nil {
		return err
	}
	if c.program != nil && c.program.Read(body, reflect.ValueOf(v).Elem()) {
		return nil
	}
	*v = *new(T)
	if err := json.Unmarshal(body, v); err != nil {
		return jsonDecodeError(reflect.TypeFor[T](), body, err)
	}
	return nil
}

// A jsonWriter writes to the end of a slice.
type jsonWriter struct{ out []byte }

func (w *jsonWriter) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	return len(p), nil
}

func jsonEncodeError(t reflect.Type, cause error) error {
	e := &EncodeError{ContentType: jsonType, Type: t, Cause: cause}
	// A Marshal method's error first, for it may itself be one of the others.
	if m, ok := errors.AsType[*json.MarshalerError](cause); ok {
		e.Reason = fmt.Sprintf("a Marshal method of %v failed (%T)", m.Type, m.Err)
	} else if u, ok := errors.AsType[*json.UnsupportedTypeError](cause); ok {
		e.Reason = fmt.Sprintf("%v has no form in JSON", u.Type)
	} else if u, ok := errors.AsType[*json.UnsupportedValueError](cause); ok {
		e.Reason = unsupportedJSON(u.Value)
	} else {
		e.Reason = fmt.Sprintf("refused by encoding/json (%T)", cause)
	}
	return e
}

func unsupportedJSON(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		return "NaN and infinities have no form in JSON"
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		return fmt.Sprintf("a %v contains itself", v.Type())
	default:
		return "a value has no form in JSON"
	}
}

// jsonDecodeError retells cause without its quotations: the character of a SyntaxError, the literal number in an
// UnmarshalTypeError, and anything in the errors of Unmarshal methods.
func jsonDecodeError(t reflect.Type, body []byte, cause error) error {
	e := &DecodeError{ContentType: jsonType, Type: t, Cause: cause}
	if len(body) == 0 {
		e.Reason = "the body is empty"
		return e
	}
	// By assertion, not AsType: one that an Unmarshal method returned tells about some other text, at other offsets.
	switch c := cause.(type) {
	case *json.SyntaxError:
		e.Reason = fmt.Sprintf("the %d bytes are not one JSON value", len(body))
		e.Offset = int(c.Offset)
	case *json.UnmarshalTypeError:
		e.Reason = fmt.Sprintf("a JSON %s does not fit into %v", jsonKind(c.Value), c.Type)
		e.Field = knownPath(t, c.Field)
		e.Offset = int(c.Offset)
	default:
		e.Reason = fmt.Sprintf("an Unmarshal method or a \",string\" tag refused its part (%T)", cause)
	}
	return e
}

// jsonKind is the first word of what UnmarshalTypeError.Value says: "number" of "number 4711".
func jsonKind(value string) string {
	kind, _, _ := strings.Cut(value, " ")
	switch kind {
	case "null", "bool", "number", "string", "array", "object":
		return kind
	}
	return "value"
}
