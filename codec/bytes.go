package codec

// Bytes returns a codec that leaves bodies as they are. It writes application/octet-stream and reads every content
// type, so it never fails: for archives, bridges between brokers, bodies that are encrypted or decoded later.
//
// A decoded value is the body itself, not a copy. The codec may be used concurrently.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) ContentType() string { return "application/octet-stream" }

func (bytesCodec) Append(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }

func (bytesCodec) Decode(_ string, body []byte) ([]byte, error) {
	// Without spare capacity, so that appending to the value cannot write over what follows the body in a shared buffer.
	return body[:len(body):len(body)], nil
}
