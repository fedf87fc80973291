// Package codectest holds a codec against what [codec.Codec] promises. It needs only the standard library, so that it
// can test codecs that live elsewhere:
//
//	func TestMyCodec(t *testing.T) {
//		codectest.Run(t, mycodec.New[Order](), Order{ID: "42"}, Order{})
//	}
//
// Each clause of the contract is a subtest, and a failure prints the sentence that does not hold. Run the tests with
// -race: the clause about concurrent use depends on it.
package codectest

import (
	"reflect"
	"testing"

	"github.com/typedbus/typedbus/codec"
)

// Run tests c with values, of which there must be at least one and should be several different ones: empty, typical,
// large. It is short for a [Suite] with defaults.
func Run[T any](t *testing.T, c codec.Codec[T], values ...T) {
	t.Helper()
	Suite[T]{Codec: c, Values: values}.Run(t)
}

// A Suite is what to test a codec with. Codec and Values are required, the zero value of the rest will do for most.
type Suite[T any] struct {
	Codec  codec.Codec[T]
	Values []T // what is encoded and decoded; at least one

	// Equal tells whether a decoded value is the one that was encoded. The default is reflect.DeepEqual, which is too
	// strict where decoding makes an equal value of another form, as time.Time in another location or a protobuf message.
	Equal func(got, want T) bool

	// AnyContentType says that the codec reads whatever a producer declares, as codec.Bytes does. The default is that
	// it must refuse content types that it does not know.
	AnyContentType bool
}

// Run runs all clauses as subtests of t.
func (s Suite[T]) Run(t *testing.T) {
	t.Helper()
	if len(s.Values) == 0 {
		t.Fatal("codectest: no values to test with")
	}
	s = s.withDefaults()
	for _, c := range clauses[T]() {
		t.Run(c.name, func(t *testing.T) {
			if err := c.check(s); err != nil {
				t.Errorf("the contract of codec.Codec says: %s\nbut %v", c.sentence, err)
			}
		})
	}
}

func (s Suite[T]) withDefaults() Suite[T] {
	if s.Equal == nil {
		s.Equal = func(got, want T) bool { return reflect.DeepEqual(got, want) }
	}
	return s
}

// A clause is one sentence of the contract and what proves it wrong.
type clause[T any] struct {
	name     string
	sentence string
	check    func(Suite[T]) error
}

func clauses[T any]() []clause[T] {
	return []clause[T]{
		{"round trip", "what Append writes, Decode turns into an equal value", Suite[T].roundTrip},
		{"prefix", "Append appends: what is in dst stays, and the encoding does not depend on it", Suite[T].prefix},
		{"dst kept", "Append does not keep dst: a later call changes nothing that an earlier one returned", Suite[T].dstKept},
		{"value kept", "a decoded value stays what it is when the codec is used again", Suite[T].valueKept},
		{"body", "Decode does not change the body", Suite[T].bodyUnchanged},
		{"content type", "ContentType names a media type, and Decode reads it in any case and with parameters", Suite[T].contentType},
		{"no content type", "a body without a content type is taken for the codec's own", Suite[T].noContentType},
		{"foreign content type", "a content type that the codec does not read is a *codec.ContentTypeError " +
			"that says what was got and what is wanted", Suite[T].foreignContentType},
		{"truncated", "a body cut short gives a value or an error, and neither panics nor takes much memory", Suite[T].truncated},
		{"garbage", "any bytes give a value or an error, and neither panic nor take much memory", Suite[T].garbage},
		{"trailing", "bytes after a value give a value or an error, and no panic", Suite[T].trailing},
		{"error shows nothing", "errors never show the payload", Suite[T].errorsShowNothing},
		{"concurrent", "a codec may be called concurrently", Suite[T].concurrent},
	}
}
