package codec_test

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"github.com/typedbus/typedbus/codec"
)

type Order struct {
	ID    string `json:"id"`
	Cents int    `json:"cents"`
}

func ExampleJSON() {
	c := codec.JSON[Order]()

	body, _ := c.Append(nil, Order{ID: "42", Cents: 995})
	fmt.Printf("%s: %s\n", c.ContentType(), body)

	o, err := c.Decode("application/json; charset=utf-8", body)
	fmt.Printf("%+v %v\n", o, err)

	// Output:
	// application/json: {"id":"42","cents":995}
	// {ID:42 Cents:995} <nil>
}

// MsgPack uses the names in json tags, so changing the codec of a type does not change its fields.
func ExampleMsgPack() {
	c := codec.MsgPack[Order]()

	body, _ := c.Append(nil, Order{ID: "42", Cents: 995})
	fmt.Printf("%s: %q\n", c.ContentType(), body)

	o, err := c.Decode(c.ContentType(), body)
	fmt.Printf("%+v %v\n", o, err)

	// Output:
	// application/msgpack: "\x82\xa2id\xa242\xa5cents\xcd\x03\xe3"
	// {ID:42 Cents:995} <nil>
}

// Five bytes that announce four billion elements are refused before anything is allocated.
func ExampleMsgPack_bomb() {
	_, err := codec.MsgPack[[]Order]().Decode("application/msgpack", []byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	fmt.Println(err)

	// Output:
	// codec: decode application/msgpack into []codec_test.Order: announces more than the bytes that are there
}

func ExampleBytes() {
	c := codec.Bytes()

	body, err := c.Decode("image/png", []byte("\x89PNG"))
	fmt.Printf("%s: %q %v\n", c.ContentType(), body, err)

	// Output:
	// application/octet-stream: "\x89PNG" <nil>
}

// The topic is on its way from JSON to MessagePack: new events are written in the one, old ones are still read.
func ExampleReads() {
	c := codec.Reads(codec.MsgPack[Order](), codec.JSON[Order]())
	fmt.Println("writes", c.ContentType())

	o, err := c.Decode("application/json", []byte(`{"id":"41"}`))
	fmt.Printf("reads %+v %v\n", o, err)

	// Output:
	// writes application/msgpack
	// reads {ID:41 Cents:0} <nil>
}

func ExampleDecodeError() {
	_, err := codec.JSON[Order]().Decode("application/json", []byte(`{"cents":"a secret"}`))
	fmt.Println(err)

	if bad, ok := errors.AsType[*codec.DecodeError](err); ok {
		fmt.Println(bad.Field, bad.Offset)
	}

	// Output:
	// codec: decode application/json into codec_test.Order: field cents: a JSON string does not fit into int (after 19 bytes)
	// cents 19
}

func ExampleEncodeError() {
	_, err := codec.JSON[any]().Append(nil, map[string]any{"reply": make(chan int)})
	fmt.Println(err)

	// Output:
	// codec: encode interface {} as application/json: chan int has no form in JSON
}

func ExampleContentTypeError() {
	_, err := codec.JSON[Order]().Decode("text/csv", []byte("42,995"))
	fmt.Println(err)

	// Output:
	// codec: content type "text/csv" is not read here, only "application/json": let the producer declare what it writes, or add a codec for it with codec.Reads
}

// decimal is a codec of one's own: numbers as text. Package codectest tests such codecs.
type decimal struct{}

func (decimal) ContentType() string { return "text/plain" }

func (decimal) Append(dst []byte, v int) ([]byte, error) {
	return strconv.AppendInt(dst, int64(v), 10), nil
}

func (decimal) Decode(contentType string, body []byte) (int, error) {
	if err := codec.Accept(contentType, "text/plain"); err != nil {
		return 0, err
	}
	v, err := strconv.Atoi(string(body))
	if err != nil {
		return 0, &codec.DecodeError{ContentType: "text/plain", Type: reflect.TypeFor[int](),
			Reason: "not a decimal number", Cause: err}
	}
	return v, nil
}

func ExampleAccept() {
	v, err := decimal{}.Decode("text/plain; charset=utf-8", []byte("42"))
	fmt.Println(v, err)

	_, err = decimal{}.Decode("text/plain", []byte("a secret"))
	fmt.Println(err)
	fmt.Println(errors.Is(err, strconv.ErrSyntax))

	// Output:
	// 42 <nil>
	// codec: decode text/plain into int: not a decimal number
	// true
}
