// Package protobuf is the codec for Protocol Buffers. It is apart from package codec so that only its users link
// google.golang.org/protobuf.
package protobuf

import (
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"

	"github.com/typedbus/typedbus/codec"
)

const contentType = "application/protobuf"

// Of returns a codec for a generated message type, named by its pointer: protobuf.Of[*orderpb.Placed](). It writes
// application/protobuf and also reads application/x-protobuf and application/vnd.google.protobuf. Unknown fields are
// kept, as usual, and written again.
//
// Append fails with [*codec.EncodeError] for a nil message, a missing required field, and a string that is not UTF-8.
// Decode fails with [*codec.DecodeError] or [*codec.ContentTypeError]; an empty body is the empty message. The codec
// may be used concurrently; a message must not change while it is being appended.
//
// With an interface, such as proto.Message, for T there is nothing to decode into, and Decode fails always.
func Of[T proto.Message]() codec.Codec[T] { return protobufCodec[T]{} }

type protobufCodec[T proto.Message] struct{}

func (protobufCodec[T]) ContentType() string { return contentType }

func (protobufCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	if proto.Message(v) == nil || !v.ProtoReflect().IsValid() {
		return dst, &codec.EncodeError{ContentType: contentType, Type: reflect.TypeFor[T](), Reason: "the message is nil"}
	}
	out, err := proto.MarshalOptions{}.MarshalAppend(dst, v)
	if err != nil {
		return dst, &codec.EncodeError{ContentType: contentType, Type: reflect.TypeFor[T](), Cause: err,
			Reason: "a required field is missing, or a string is not UTF-8"}
	}
	return out, nil
}

func (protobufCodec[T]) Decode(declared string, body []byte) (T, error) {
	var none T
	if err := codec.Accept(declared, contentType, "application/x-protobuf", "application/vnd.google.protobuf"); err != nil {
		return none, err
	}
	if proto.Message(none) == nil {
		return none, &codec.DecodeError{ContentType: contentType, Type: reflect.TypeFor[T](),
			Reason: "an interface is no message: name a generated type in protobuf.Of"}
	}
	v := none.ProtoReflect().New().Interface().(T)
	if err := proto.Unmarshal(body, v); err != nil {
		return none, &codec.DecodeError{ContentType: contentType, Type: reflect.TypeFor[T](), Cause: err,
			Reason: fmt.Sprintf("the %d bytes are not such a message", len(body))}
	}
	return v, nil
}
