package protobuf_test

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/typedbus/typedbus/codec/protobuf"
)

func ExampleOf() {
	c := protobuf.Of[*durationpb.Duration]()

	body, err := c.Append(nil, durationpb.New(90*time.Second))
	fmt.Println(c.ContentType(), body, err)

	d, err := c.Decode(c.ContentType(), body)
	fmt.Println(d.AsDuration(), err)

	// Output:
	// application/protobuf [8 90] <nil>
	// 1m30s <nil>
}
