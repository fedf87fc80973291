// Package compress makes bodies smaller on their way: a pair of publishing and handling.
package compress

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// The encoding of a body is told as HTTP does it.
const (
	header   = "content-encoding"
	encoding = "zstd"
)

// Options are the knobs of [Zstd]. The zero value has the defaults.
type Options struct {
	// MinSize is the smallest body that is compressed, in bytes; default 1 KiB. Smaller ones gain little.
	MinSize int
	// MaxDecoded is the largest body after decoding, in bytes; default 16 times [bus.DefaultMaxBytes], 16 MiB. It is the guard
	// against bombs, small bodies that decode to huge ones, and should be no less than the MaxBytes of any topic: that is checked
	// too, on the decoded body. Larger bodies are not compressed.
	MaxDecoded int
}

// Compression is a pair of middleware that compresses bodies with zstd (RFC 8878). Use both halves, on every bus that
// publishes or handles the topics; it is first of all when publishing, so that [bus.MaxBytes] means the body as it was encoded:
//
//	c := compress.Zstd(compress.Options{})
//	b := bus.New(tr, bus.Use(c.Handle), bus.UseSend(c.Send))
//
// Together with encryption a body is compressed first: UseSend(c.Send, e.Send) and Use(e.Handle, c.Handle). The size of what is
// compressed tells something about its content, even encrypted: do not compress secrets beside text that others choose.
//
// It may be used for many subscriptions, concurrently; as many bodies are coded at the same time as there are processors, up to
// eight. It has no goroutines, and needs not be closed.
type Compression struct {
	o        Options
	encoder  *zstd.Encoder
	decoders chan *zstd.Decoder // those that are free
}

// Zstd makes the pair.
func Zstd(o Options) *Compression {
	if o.MinSize <= 0 {
		o.MinSize = 1 << 10
	}
	if o.MaxDecoded <= 0 {
		o.MaxDecoded = 16 * bus.DefaultMaxBytes
	}
	o.MaxDecoded = min(o.MaxDecoded, math.MaxInt32)
	atOnce := min(runtime.GOMAXPROCS(0), mostAtOnce)
	c := &Compression{o: o, decoders: make(chan *zstd.Decoder, atOnce)}
	// The options are valid, so that there is no error. All is made now, and nothing by first use: channels that are made in a
	// testing/synctest bubble are of no use outside.
	c.encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(atOnce), zstd.WithEncoderLevel(zstd.SpeedFastest))
	c.encoder.EncodeAll(nil, nil)
	window := zstd.WithDecoderMaxWindow(uint64(min(max(o.MaxDecoded, leastWindow), zstd.MaxWindowSize)))
	for range atOnce {
		d, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), window) // 1: no goroutines
		c.decoders <- d
	}
	return c
}

// mostAtOnce bounds the memory that coders need, about 1 MiB each.
const mostAtOnce = 8

// leastWindow is what RFC 8878, 3.1.1.1.2, recommends every decoder to support: others may need it for the smallest body.
const leastWindow = 8 << 20

// Send is a [bus.SendMiddleware]: it compresses bodies of at least MinSize that become smaller by an eighth or more, and says so
// in the header "content-encoding". It does so in copies: the messages stay as they are. A message that has the header
// already is encoded by its publisher, and passed on.
func (c *Compression) Send(next bus.Sender) bus.Sender {
	return func(ctx context.Context, t transport.Topic, ms []*bus.Message) error {
		return next(ctx, t, c.compressed(ms))
	}
}

// compressed is ms, or a copy of it with what is compressed in it.
func (c *Compression) compressed(ms []*bus.Message) []*bus.Message {
	copied := false
	for i, m := range ms {
		small := c.compress(m)
		if small == nil {
			continue
		}
		if !copied {
			ms, copied = slices.Clone(ms), true
		}
		ms[i] = small
	}
	return ms
}

// compress returns the message with a smaller body; nil if that is not worth it.
func (c *Compression) compress(m *bus.Message) *bus.Message {
	if m == nil || len(m.Body) < c.o.MinSize || len(m.Body) > c.o.MaxDecoded {
		return nil
	}
	if _, encoded := m.Headers.Lookup(header); encoded {
		return nil
	}
	body := c.encoder.EncodeAll(m.Body, nil)
	if len(body) > len(m.Body)/8*7 {
		return nil
	}
	small := *m
	small.Body = body
	small.Headers.Set(header, encoding)
	return &small
}

// Handle is a [bus.Middleware]: it decodes what Send has encoded, and lets everything else pass. What cannot be decoded is
// [bus.Permanent] and wraps [bus.ErrUndecodable]: a body that is broken or decodes to more than MaxDecoded, and an encoding
// other than zstd.
func (c *Compression) Handle(next bus.Handler) bus.Handler {
	knobs := fmt.Sprintf("zstd from %d bytes on, to at most %d bytes", c.o.MinSize, c.o.MaxDecoded)
	return bus.Describe(bus.Layer{Name: "compress.Zstd", Knobs: knobs}, c.decoding)(next)
}

func (c *Compression) decoding(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		name, encoded := d.Headers.Lookup(header)
		if !encoded || d.Malformed != nil {
			return next(ctx, d)
		}
		m, err := c.decoded(d.Message, name)
		if err != nil {
			return bus.Permanent(fmt.Errorf("compress: %w: %w", bus.ErrUndecodable, err))
		}
		return next(ctx, d.WithMessage(m))
	}
}

// decoded is the message with its body decoded, and without the header, which is true no more.
func (c *Compression) decoded(m *bus.Message, name string) (*bus.Message, error) {
	if !strings.EqualFold(name, encoding) {
		return nil, fmt.Errorf("the body has the encoding %.40q, and only %q is known: decode it in a middleware of your own, further out", name, encoding)
	}
	body, err := c.decode(m.Body)
	if err != nil {
		return nil, err
	}
	plain := *m
	plain.Body = body
	plain.Headers.Del(header)
	return &plain, nil
}

// decode makes at most MaxDecoded bytes, and needs at most twice that memory. It reads a stream: DecodeAll has a limit for each
// frame of a body only, and a body may have many.
func (c *Compression) decode(body []byte) ([]byte, error) {
	d := <-c.decoders
	defer func() { c.decoders <- d }()
	if err := d.Reset(bytes.NewReader(body)); err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	defer d.Reset(nil) // it must not keep the body alive
	plain, err := read(d, guess(body), c.o.MaxDecoded)
	switch {
	case len(plain) > c.o.MaxDecoded:
		return nil, fmt.Errorf("%w: the body decodes to more than the %d bytes of MaxDecoded", bus.ErrTooLarge, c.o.MaxDecoded)
	case err != nil:
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return plain, nil
}

// read reads r to its end, or one byte more than most. It never makes room for more: bytes.Buffer doubles past any bound.
func read(r io.Reader, guess, most int) ([]byte, error) {
	plain := make([]byte, 0, min(guess, most)+1)
	for {
		n, err := r.Read(plain[len(plain):cap(plain)])
		plain = plain[:len(plain)+n]
		switch {
		case err == io.EOF:
			return plain, nil
		case err != nil, len(plain) > most:
			return plain, err
		case len(plain) == cap(plain):
			plain = append(make([]byte, 0, min(2*cap(plain), most+1)), plain...)
		}
	}
}

// guess is how large a body may be when it is decoded: what it says, if that is believable.
func guess(body []byte) int {
	var frame zstd.Header
	if frame.Decode(body) == nil && frame.HasFCS {
		return int(min(frame.FrameContentSize, bus.DefaultMaxBytes))
	}
	return min(4*len(body), bus.DefaultMaxBytes)
}
