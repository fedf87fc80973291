package codec

import "errors"

// Reads returns a codec that writes like write and reads what any of its codecs reads, each body by its declared
// content type; a body without one is for write. With it the format of a topic changes without downtime:
//
//  1. deploy everywhere Reads(codec.JSON[Order](), codec.MsgPack[Order]()): still writes JSON, reads both;
//  2. deploy everywhere Reads(codec.MsgPack[Order](), codec.JSON[Order]()): writes MessagePack, reads both;
//  3. when the stream holds no JSON any more: codec.MsgPack[Order]().
//
// The codecs are asked in order, and the first that does not refuse the content type decides; one that reads every
// content type, as [Bytes], belongs last. A content type that all refuse is a [*ContentTypeError] with all that they
// read. The codec may be used concurrently if its codecs may.
func Reads[T any](write Codec[T], others ...Codec[T]) Codec[T] {
	return readsCodec[T]{Codec: write, others: append([]Codec[T](nil), others...)}
}

type readsCodec[T any] struct {
	Codec[T]
	others []Codec[T]
}

func (c readsCodec[T]) Decode(contentType string, body []byte) (T, error) {
	v, err := c.Codec.Decode(contentType, body)
	if err == nil {
		return v, nil
	}
	refused, ok := errors.AsType[*ContentTypeError](err)
	if !ok {
		return v, err
	}
	all := &ContentTypeError{Got: contentType, Want: append([]string(nil), refused.Want...)}
	for _, other := range c.others {
		v, err = other.Decode(contentType, body)
		if refused, ok = errors.AsType[*ContentTypeError](err); !ok {
			return v, err
		}
		all.Want = append(all.Want, refused.Want...)
	}
	var none T
	return none, all
}
