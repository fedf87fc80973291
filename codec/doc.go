// Package codec turns values into bytes and back: one [Codec] for one Go type.
//
//	var OrderPlaced = bus.NewTopic("orders.placed", codec.JSON[Order]())
//
// # What to choose
//
//	codec         content type               choose it when
//	JSON          application/json           people and other languages read the stream; the default
//	MsgPack       application/msgpack        size and speed matter and the Go struct is the schema
//	protobuf.Of   application/protobuf       services share a .proto file
//	Bytes         application/octet-stream   the body is none of our business: archives, bridges, encrypted data
//	Reads         that of its first codec    the format of a topic changes while services run
//
// JSON and MsgPack take the names of fields from the same `json` struct tags, so one can replace the other.
//
// # What every codec here promises
//
//   - It may be called concurrently.
//   - A body that does not decode is a [*DecodeError], a content type it does not read a [*ContentTypeError], a value
//     that does not encode an [*EncodeError]. Their texts are made of facts (format, Go type, field, offset) and
//     never of payload, so they may be logged.
//   - No body makes it panic, overflow the stack, or allocate more than in proportion to its length.
//   - A panic in a method of yours (MarshalJSON, UnmarshalText, DecodeMsgpack...) is a bug, not a bad body: it passes
//     through with its own stack, for the caller to recover and report.
//
// Package codectest holds these promises against any codec, also one of yours.
//
// Numbers of elements and lengths are checked against the bytes that are there, but a small body can still describe
// a larger value: 300 KB of `{},{},...` are 100,000 structs, whatever the size of the struct. MsgPack bounds that
// too; for the other formats the limit on the size of a body is the bound.
package codec
