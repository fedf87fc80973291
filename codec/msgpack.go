package codec

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

const msgpackType = "application/msgpack"

// MsgPack returns a codec for T over vmihailenco/msgpack. It writes application/msgpack, and reads that,
// application/x-msgpack and application/vnd.msgpack.
//
// Names and options of fields come from `msgpack` struct tags or, where there is none, from `json` tags, so that a
// type made for [JSON] keeps its names. Integers are written in the fewest bytes. In an interface value numbers come
// back as int64, uint64 or float64, maps as map[string]any, and bytes as string. Unknown fields are ignored.
//
// Every body is checked before it is decoded: it must be one complete value and nothing more, nested at most 64
// levels, announce no more elements than it has bytes left, and not become larger than 4 MiB or, if that is more,
// 128 times its length through elements that are small in the body and large in Go. Append refuses values whose
// encoding would not pass. Two features of the library are not supported: interned strings, and extension decoders
// that read their payload other than as bytes (those of msgpack.RegisterExt do it right).
//
// Append fails with [*EncodeError] for channels, functions, complex numbers, values that contain themselves or are
// nested too deep, and whenever a method fails. Decode fails with [*DecodeError] or [*ContentTypeError]; where the
// library itself panics over a body, as for nil where a time.Time belongs, that is a [*DecodeError] too. The codec
// may be used concurrently.
func MsgPack[T any]() Codec[T] {
	t := reflect.TypeFor[T]()
	return msgpackCodec[T]{careful: inspects(t), shape: shapeOf(t)}
}

type msgpackCodec[T any] struct {
	careful bool   // values of T may be endless, or have no encoding, or one that Decode would refuse
	shape   *shape // nil if nothing in T is much larger in Go than in a body
}

func (msgpackCodec[T]) ContentType() string { return msgpackType }

func (c msgpackCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	if c.careful {
		if reason := inspect(reflect.ValueOf(&v).Elem()); reason != "" {
			return dst, &EncodeError{ContentType: msgpackType, Type: reflect.TypeFor[T](), Reason: reason}
		}
	}
	out, err := msgpackEncode(dst, &v)
	if err != nil {
		return dst, &EncodeError{ContentType: msgpackType, Type: reflect.TypeFor[T](), Cause: err,
			Reason: fmt.Sprintf("refused by the msgpack library or a method of the value (%T)", err)}
	}
	if c.careful {
		if f := new(msgpackChecker).check(out[len(dst):], c.shape); f != nil {
			return dst, &EncodeError{ContentType: msgpackType, Type: reflect.TypeFor[T](),
				Reason: "consumers would refuse the encoding: " + f.reason}
		}
	}
	return out, nil
}

func (c msgpackCodec[T]) Decode(contentType string, body []byte) (T, error) {
	var v, none T
	if err := Accept(contentType, msgpackType, "application/x-msgpack", "application/vnd.msgpack"); err != nil {
		return none, err
	}
	d := msgpackDecoders.Get().(*msgpackDecoder)
	if f := d.checker.check(body, c.shape); f != nil {
		d.release(body)
		return none, &DecodeError{ContentType: msgpackType, Type: reflect.TypeFor[T](), Reason: f.reason, Offset: f.offset}
	}
	if err := d.decode(body, &v); err != nil {
		// d is not released: after an error the library's decoder may still be recording.
		return none, msgpackDecodeError(reflect.TypeFor[T](), body, d.read.last, err)
	}
	d.release(body)
	return v, nil
}

// msgpackDecodeError tells where the library stopped; its own texts quote bytes and strings of the body.
func msgpackDecodeError(t reflect.Type, body []byte, offset int, cause error) error {
	at := locate(body, offset, fieldNames(t))
	return &DecodeError{ContentType: msgpackType, Type: t, Field: at.path, Offset: at.offset, Cause: cause,
		Reason: fmt.Sprintf("a MessagePack %s does not fit (%T)", at.kind, cause)}
}

// A msgpackWriter appends to a caller's buffer what its encoder writes. The two stay together in a pool of ours rather
// than the library's, so that the buffer costs no allocation, and an encoder that failed is not used again by anyone.
type msgpackWriter struct {
	enc *msgpack.Encoder
	out []byte
}

func (w *msgpackWriter) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	return len(p), nil
}

func (w *msgpackWriter) WriteByte(b byte) error {
	w.out = append(w.out, b)
	return nil
}

var msgpackWriters = sync.Pool{New: func() any {
	w := new(msgpackWriter)
	w.enc = msgpack.NewEncoder(w)
	return w
}}

// msgpackEncode appends the encoding of what v points to: of its address, or methods with a pointer receiver fail.
func msgpackEncode(dst []byte, v any) (out []byte, err error) {
	w := msgpackWriters.Get().(*msgpackWriter)
	returned := false
	defer func() {
		if !returned && msgpackPanicked() {
			err = panicError{recover()}
		}
	}()
	w.enc.Reset(w) // EncodeMsgpack methods may have changed the encoder's settings
	w.enc.SetCustomStructTag("json")
	w.enc.UseCompactInts(true)
	w.out = dst
	err = w.enc.Encode(v)
	out, w.out = w.out, nil
	returned = true
	if err == nil {
		msgpackWriters.Put(w)
	}
	return out, err
}

// A msgpackDecoder keeps together, in a pool, what decoding one body needs.
type msgpackDecoder struct {
	checker msgpackChecker
	read    msgpackReader
	dec     *msgpack.Decoder
}

var msgpackDecoders = sync.Pool{New: func() any {
	return &msgpackDecoder{dec: msgpack.NewDecoder(nil)}
}}

// decode decodes body, which checker has passed, into what v points to.
func (d *msgpackDecoder) decode(body []byte, v any) (err error) {
	returned := false
	defer func() {
		if !returned && msgpackPanicked() {
			err = panicError{recover()}
		}
	}()
	d.read = msgpackReader{body: body, payloads: d.checker.payloads}
	d.dec.Reset(&d.read)
	d.dec.SetCustomStructTag("json")
	d.dec.UseLooseInterfaceDecoding(true)
	// UsePreallocateValues stays off: it starts a goroutine for each type, for ever.
	err = d.dec.Decode(v)
	returned = true
	return err
}

// release gives d back, except after a large body: the library keeps a buffer as large as the longest string.
func (d *msgpackDecoder) release(body []byte) {
	const large = 64 << 10
	d.read = msgpackReader{}
	if len(body) <= large {
		msgpackDecoders.Put(d)
	}
}
