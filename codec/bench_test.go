package codec_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/typedbus/typedbus/codec"
)

// flat is a type that needs no inspection; order, which contains itself, does.
type flat struct {
	ID       string   `json:"id"`
	Customer string   `json:"customer"`
	Cents    int64    `json:"cents"`
	Paid     bool     `json:"paid"`
	Lines    []line   `json:"lines"`
	Tags     []string `json:"tags"`
}

// small is what most events are like: about 150 bytes, with a time and a list.
type small struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer"`
	Cents    int64     `json:"cents"`
	Placed   time.Time `json:"placed"`
	Items    []string  `json:"items"`
	Express  bool      `json:"express"`
}

var sampleSmall = small{"order-000000042", "customer-00042", 995, time.Unix(1_790_000_000, 42_000_000).UTC(), []string{"pencil", "paper", "eraser"}, true}

// BenchmarkSmallJSON has the codec beside the package that it keeps to.
func BenchmarkSmallJSON(b *testing.B) {
	c := codec.JSON[small]()
	body, err := c.Append(nil, sampleSmall)
	if err != nil {
		b.Fatal(err)
	}
	into := c.(interface {
		DecodeInto(string, []byte, *small) error
	})
	for name, f := range map[string]func() error{
		"append/codec":    func() error { _, err := c.Append(nil, sampleSmall); return err },
		"append/standard": func() error { _, err := json.Marshal(&sampleSmall); return err },
		"decode/codec":    func() error { return into.DecodeInto("", body, new(small)) },
		"decode/standard": func() error { return json.Unmarshal(body, new(small)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

var sampleFlat = flat{"0198f2b0-7c1e-7000-8000-000000000042", "ada@example.com", 995, true, []line{{"tea", 2}, {"milk", 1}}, []string{"gift", "new"}}

func BenchmarkAppend(b *testing.B) {
	b.Run("json", func(b *testing.B) { benchAppend(b, codec.JSON[flat](), sampleFlat) })
	b.Run("msgpack", func(b *testing.B) { benchAppend(b, codec.MsgPack[flat](), sampleFlat) })
	b.Run("json/recursive", func(b *testing.B) { benchAppend(b, codec.JSON[order](), sampleOrder()) })
	b.Run("msgpack/recursive", func(b *testing.B) { benchAppend(b, codec.MsgPack[order](), sampleOrder()) })
	b.Run("library/json", func(b *testing.B) {
		dst := make([]byte, 0, 1<<10)
		b.ReportAllocs()
		for b.Loop() {
			out, _ := json.Marshal(&sampleFlat)
			dst = append(dst[:0], out...)
		}
	})
	b.Run("library/msgpack", func(b *testing.B) {
		dst := make([]byte, 0, 1<<10)
		b.ReportAllocs()
		for b.Loop() {
			out, _ := msgpack.Marshal(&sampleFlat)
			dst = append(dst[:0], out...)
		}
	})
}

func benchAppend[T any](b *testing.B, c codec.Codec[T], v T) {
	dst := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = c.Append(dst[:0], v); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkDecode(b *testing.B) {
	b.Run("json", func(b *testing.B) { benchDecode(b, codec.JSON[flat](), sampleFlat) })
	b.Run("msgpack", func(b *testing.B) { benchDecode(b, codec.MsgPack[flat](), sampleFlat) })
	b.Run("msgpack/recursive", func(b *testing.B) { benchDecode(b, codec.MsgPack[order](), sampleOrder()) })
	b.Run("reads/second", func(b *testing.B) {
		body, _ := codec.JSON[flat]().Append(nil, sampleFlat)
		benchDecodeBody(b, codec.Reads(codec.MsgPack[flat](), codec.JSON[flat]()), "application/json", body)
	})
	b.Run("library/msgpack", func(b *testing.B) {
		body, _ := msgpack.Marshal(&sampleFlat)
		b.ReportAllocs()
		for b.Loop() {
			var v flat
			_ = msgpack.Unmarshal(body, &v)
		}
	})
	b.Run("bomb", func(b *testing.B) {
		c := codec.MsgPack[flat]()
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.Decode("", []byte{0xdd, 0xff, 0xff, 0xff, 0xff})
		}
	})
}

func benchDecode[T any](b *testing.B, c codec.Codec[T], v T) {
	body, err := c.Append(nil, v)
	if err != nil {
		b.Fatal(err)
	}
	benchDecodeBody(b, c, c.ContentType(), body)
}

func benchDecodeBody[T any](b *testing.B, c codec.Codec[T], contentType string, body []byte) {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Decode(contentType, body); err != nil {
			b.Fatal(err)
		}
	}
}
