package codec

// A Codec turns values of T into bytes and back. It may be called concurrently.
type Codec[T any] interface {
	// ContentType names the format that Append writes, as "application/json".
	ContentType() string

	// Append appends the encoding of v to dst and returns the extended buffer, like the append functions of strconv.
	// It does not keep dst or v. With an error it returns dst as it was.
	Append(dst []byte, v T) ([]byte, error)

	// Decode turns body into a value. contentType is what the producer declared: "" means that it declared nothing, and is
	// taken for the codec's own. A content type that the codec does not read is a [*ContentTypeError].
	// The value may keep body, so the caller must not change it afterwards. Errors never show the payload.
	Decode(contentType string, body []byte) (T, error)
}
