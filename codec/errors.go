package codec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// A DecodeError says that a body is not a value of the wanted type. Decoding it again gives the same error.
//
// Its text, also under %+v and %#v, is made of the fields below except Cause, and so never shows payload. It has no
// Unwrap method, because what walks a chain of errors often prints it; [errors.Is] and [errors.As] still find what
// is in Cause, for instance an error that an UnmarshalJSON method returned.
type DecodeError struct {
	ContentType string       // the format, as "application/json"
	Type        reflect.Type // what the body was decoded into
	Field       string       // path of the struct field at fault, as "Items.Price"; "" if unknown or the whole value
	Offset      int          // bytes read when the fault was noticed; 0 if unknown
	Reason      string       // what is wrong, in words that quote nothing from the body
	Cause       error        `json:"-"` // what the decoder said, if anything. It may quote the body: match it, never print it
}

func (e *DecodeError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "codec: decode %s into %v: ", e.ContentType, e.Type)
	if e.Field != "" {
		fmt.Fprintf(&b, "field %s: ", e.Field)
	}
	b.WriteString(e.Reason)
	if e.Offset > 0 {
		fmt.Fprintf(&b, " (after %d bytes)", e.Offset)
	}
	return b.String()
}

// GoString keeps Cause out of %#v.
func (e *DecodeError) GoString() string { return e.Error() }

// Is reports whether target is in Cause. It serves [errors.Is].
func (e *DecodeError) Is(target error) bool { return e.Cause != nil && errors.Is(e.Cause, target) }

// As looks for target in Cause. It serves [errors.As]; what it finds may quote the body.
func (e *DecodeError) As(target any) bool { return e.Cause != nil && errors.As(e.Cause, target) }

// An EncodeError says that a value has no encoding in a format: encoding it again gives the same error.
// Its text never shows the value; see [DecodeError] for how Cause is kept out of it.
type EncodeError struct {
	ContentType string       // the format, as "application/json"
	Type        reflect.Type // what was to be encoded
	Reason      string       // what is wrong, in words that quote nothing from the value
	Cause       error        `json:"-"` // what the encoder said, if anything. It may quote the value: match it, never print it
}

func (e *EncodeError) Error() string {
	return fmt.Sprintf("codec: encode %v as %s: %s", e.Type, e.ContentType, e.Reason)
}

// GoString keeps Cause out of %#v.
func (e *EncodeError) GoString() string { return e.Error() }

// Is reports whether target is in Cause. It serves [errors.Is].
func (e *EncodeError) Is(target error) bool { return e.Cause != nil && errors.Is(e.Cause, target) }

// As looks for target in Cause. It serves [errors.As]; what it finds may quote the value.
func (e *EncodeError) As(target any) bool { return e.Cause != nil && errors.As(e.Cause, target) }
