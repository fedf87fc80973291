package compress_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware/compress"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var topic = transport.Topic{Name: "quakes"}

// sent returns what Send makes of messages.
func sent(t testing.TB, c *compress.Compression, ms ...*bus.Message) (out []*bus.Message) {
	t.Helper()
	send := c.Send(func(_ context.Context, to transport.Topic, ms []*bus.Message) error {
		assert.Equal(t, topic, to)
		out = ms
		return nil
	})
	require.NoError(t, send(t.Context(), topic, ms))
	return out
}

// handled returns the message that a handler gets.
func handled(t testing.TB, c *compress.Compression, m *bus.Message) (got *bus.Message, err error) {
	t.Helper()
	h := c.Handle(func(_ context.Context, d *bus.Delivery) error { got = d.Message; return nil })
	err = h(t.Context(), bus.NewDelivery(&transport.Delivery{Message: m, Topic: topic.Name}, nil))
	return got, err
}

func encoded(body []byte) *bus.Message {
	return &bus.Message{ID: "1", Body: body, Headers: transport.Headers{{Name: "content-encoding", Value: "zstd"}}}
}

func text(n int) []byte { return []byte(strings.Repeat("a text that repeats itself. ", n/28+1)[:n]) }

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestSendCompressesWhatIsWorthIt(t *testing.T) {
	small := compress.Options{MinSize: 100, MaxDecoded: 10_000}
	for name, c := range map[string]struct {
		o    compress.Options
		body []byte
		want bool
	}{
		"empty":                {compress.Options{}, nil, false},
		"below 1 KiB":          {compress.Options{}, text(1<<10 - 1), false},
		"1 KiB":                {compress.Options{}, text(1 << 10), true},
		"negative options":     {compress.Options{MinSize: -1, MaxDecoded: -1}, text(1 << 10), true},
		"huge options":         {compress.Options{MaxDecoded: math.MaxInt}, text(1 << 10), true},
		"MaxBytes":             {compress.Options{}, text(bus.DefaultMaxBytes), true},
		"16 MiB":               {compress.Options{}, text(16 << 20), true},
		"beyond":               {compress.Options{}, text(16<<20 + 1), false},
		"below MinSize":        {small, text(99), false},
		"MinSize":              {small, text(100), true},
		"MaxDecoded":           {small, text(10_000), true},
		"beyond MaxDecoded":    {small, text(10_001), false},
		"does not get smaller": {compress.Options{}, noise(5000), false},
		"smaller by little":    {compress.Options{}, append(noise(5000), text(500)...), false},
	} {
		t.Run(name, func(t *testing.T) {
			pair := compress.Zstd(c.o)
			m := &bus.Message{ID: "1", Key: "k", ContentType: "text/plain", Body: c.body, Headers: transport.Headers{{Name: "a", Value: "b"}}}
			before := m.Clone()
			out := sent(t, pair, m)[0]
			same(t, before, m, "the publisher's message stays as it is")
			assert.Equal(t, c.want, out != m)
			assert.Equal(t, c.want, out.Headers.Get("content-encoding") == "zstd")
			if c.want {
				assert.LessOrEqual(t, len(out.Body), len(c.body)*7/8)
			}
			got, err := handled(t, pair, out)
			require.NoError(t, err)
			same(t, before, got, "as if nothing had been")
		})
	}
}

// same compares messages with large bodies, for which assert.Equal takes seconds.
func same(t *testing.T, want, got *bus.Message, why string) {
	t.Helper()
	assert.True(t, bytes.Equal(want.Body, got.Body), why)
	a, b := *want, *got
	a.Body, b.Body = nil, nil
	assert.Equal(t, a, b, why)
}

func TestSendKeepsTheSlice(t *testing.T) {
	c := compress.Zstd(compress.Options{})
	ms := []*bus.Message{{ID: "1"}, {ID: "2", Body: text(5000)}, nil, {ID: "4", Body: text(5000)}}
	before := []*bus.Message{ms[0], ms[1], ms[2], ms[3]}
	out := sent(t, c, ms...)
	assert.Equal(t, before, ms)
	require.Len(t, out, 4)
	assert.Same(t, ms[0], out[0])
	assert.Nil(t, out[2])
	for _, i := range []int{1, 3} {
		assert.Equal(t, ms[i].ID, out[i].ID)
		assert.Less(t, len(out[i].Body), 1000)
	}
	away := errors.New("away")
	err := c.Send(func(context.Context, transport.Topic, []*bus.Message) error { return away })(t.Context(), topic, ms)
	assert.Equal(t, away, err)
}

func TestSendLeavesWhatIsEncoded(t *testing.T) {
	m := &bus.Message{ID: "1", Body: text(5000), Headers: transport.Headers{{Name: "content-encoding", Value: "gzip"}}}
	assert.Same(t, m, sent(t, compress.Zstd(compress.Options{}), m)[0])
}

func TestHandleLetsOthersPass(t *testing.T) {
	c := compress.Zstd(compress.Options{})
	plain := &bus.Message{ID: "1", Body: text(5000)}
	got, err := handled(t, c, plain)
	require.NoError(t, err)
	assert.Same(t, plain, got)

	refused := bus.DeadLetter("bad", nil)
	h := c.Handle(func(context.Context, *bus.Delivery) error { return refused })
	for _, m := range []*bus.Message{plain, sent(t, c, plain)[0]} {
		d := bus.NewDelivery(&transport.Delivery{Message: m}, nil)
		assert.Equal(t, refused, h(t.Context(), d), "a verdict passes unchanged")
		assert.Same(t, m, d.Message, "the delivery stays as it is")
	}
	malformed := &transport.Delivery{Message: encoded([]byte("x")), Malformed: errors.New("no message")}
	assert.Equal(t, refused, h(t.Context(), bus.NewDelivery(malformed, nil)), "the bus says what is wrong with it")
}

// frames makes bodies as others make them. known: the size of the content is in the frame.
func frames(t testing.TB, content []byte, n int, known bool, opts ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, append(opts, zstd.WithEncoderConcurrency(1))...)
	require.NoError(t, err)
	if known {
		return bytes.Repeat(w.EncodeAll(content, nil), n)
	}
	for _, half := range [][]byte{content[:len(content)/2], content[len(content)/2:]} {
		_, err := w.Write(half)
		require.NoError(t, err)
		require.NoError(t, w.Flush())
	}
	require.NoError(t, w.Close())
	return bytes.Repeat(b.Bytes(), n)
}

func TestHandleReadsWhatOthersWrite(t *testing.T) {
	c := compress.Zstd(compress.Options{MaxDecoded: 20_000})
	content := text(5000)
	for name, c2 := range map[string]struct {
		body []byte
		want []byte
	}{
		"one frame":               {frames(t, content, 1, true), content},
		"a frame of unknown size": {frames(t, content, 1, false), content},
		"many frames":             {frames(t, content, 4, true), bytes.Repeat(content, 4)},
		"many of unknown size":    {frames(t, content, 4, false), bytes.Repeat(content, 4)},
		"a window of 8 MiB":       {frames(t, content, 1, false, zstd.WithWindowSize(8<<20)), content},
		"no checksum":             {frames(t, content, 1, true, zstd.WithEncoderCRC(false)), content},
		"padding":                 {frames(t, content, 1, true, zstd.WithEncoderPadding(1000)), content},
		"nothing":                 {nil, nil},
		"a frame of nothing":      {frames(t, nil, 1, true, zstd.WithZeroFrames(true)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := handled(t, c, encoded(c2.body))
			require.NoError(t, err)
			assert.Equal(t, string(c2.want), string(got.Body))
		})
	}
	upper := encoded(frames(t, content, 1, true))
	upper.Headers.Set("content-encoding", "ZSTD")
	got, err := handled(t, c, upper)
	require.NoError(t, err)
	assert.Equal(t, content, got.Body)
}

func TestHandleRefuses(t *testing.T) {
	const most = 1 << 20
	c := compress.Zstd(compress.Options{MaxDecoded: most})
	good := frames(t, text(5000), 1, true)
	for name, body := range map[string][]byte{
		"garbage":              []byte("garbage, and more of it"),
		"JSON":                 []byte(`{"a": 1}`),
		"cut off":              good[:len(good)-5],
		"a header only":        good[:6],
		"a flipped bit":        append(append([]byte{}, good[:len(good)-5]...), good[len(good)-5]^1, good[len(good)-4], good[len(good)-3], good[len(good)-2], good[len(good)-1]),
		"something behind":     append(append([]byte{}, good...), "garbage"...),
		"a window of 64 MiB":   frames(t, text(5000), 1, false, zstd.WithWindowSize(64<<20)),
		"one byte too much":    frames(t, text(most+1), 1, true),
		"of unknown size":      frames(t, text(most+1), 1, false),
		"a bomb":               frames(t, make([]byte, 100<<20), 1, true),
		"a bomb, size unknown": frames(t, make([]byte, 100<<20), 1, false),
		"frames that together": frames(t, make([]byte, most), 200, false),
		"small, then a bomb":   append(append([]byte{}, good...), frames(t, make([]byte, 50<<20), 1, false)...),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, err := handled(t, c, encoded(body))
			runtime.ReadMemStats(&after)
			assert.Nil(t, got, "the handler is not called")
			assert.Equal(t, bus.PermanentlyFailed, bus.VerdictOf(err).Kind)
			assert.ErrorIs(t, err, bus.ErrUndecodable)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(24<<20), "a bomb does not explode")
		})
	}
	_, err := handled(t, c, encoded(frames(t, make([]byte, most+1), 1, false)))
	assert.ErrorIs(t, err, bus.ErrTooLarge)
	assert.EqualError(t, err, "compress: undecodable: payload too large: the body decodes to more than the 1048576 bytes of MaxDecoded")
}

func TestHandleNamesWhatItDoesNotKnow(t *testing.T) {
	for _, name := range []string{"gzip", "br", "zstd, gzip", "", strings.Repeat("x", 1000)} {
		m := encoded(text(100))
		m.Headers.Set("content-encoding", name)
		_, err := handled(t, compress.Zstd(compress.Options{}), m)
		assert.Equal(t, bus.PermanentlyFailed, bus.VerdictOf(err).Kind)
		assert.ErrorIs(t, err, bus.ErrUndecodable)
		assert.ErrorContains(t, err, fmt.Sprintf("%.40q", name))
		assert.Less(t, len(err.Error()), 250)
	}
}

func TestExplains(t *testing.T) {
	assert.EqualError(t, compress.Zstd(compress.Options{}).Handle(nil)(nil, nil), "compress.Zstd")
}

func TestRoundTrip(t *testing.T) {
	c := compress.Zstd(compress.Options{MinSize: 1})
	rapid.Check(t, func(rt *rapid.T) {
		body := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(rt, "noise")
		body = append(body, bytes.Repeat(body, rapid.IntRange(0, 50).Draw(rt, "times"))...)
		m := &bus.Message{ID: "1", Body: body}
		got, err := handled(t, c, sent(t, c, m)[0])
		require.NoError(rt, err)
		assert.True(rt, bytes.Equal(body, got.Body))
	})
}

// TestManyAtOnce: also more at once than there are coders.
func TestManyAtOnce(t *testing.T) {
	c := compress.Zstd(compress.Options{})
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			body := append(text(2000+i*100), noise(i*10)...)
			for range 50 {
				got, err := handled(t, c, sent(t, c, &bus.Message{ID: "1", Body: body})[0])
				assert.NoError(t, err)
				assert.Equal(t, body, got.Body)
				_, err = handled(t, c, encoded(body))
				assert.Error(t, err)
			}
		})
	}
	wg.Wait()
}

// TestOnABus: through the bus and through an event, in one bubble and the next: a pair may be a package variable.
func TestOnABus(t *testing.T) {
	c := compress.Zstd(compress.Options{})
	in, out := bus.NewTopic("in", codec.JSON[string]()), bus.NewTopic("out", codec.JSON[string](), bus.MaxBytes(5000))
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			tr := memory.New()
			defer tr.Close()
			b := bus.New(tr, bus.Logger(nil), bus.Use(c.Handle), bus.UseSend(c.Send))
			in.Subscribe(b, "g", func(ctx context.Context, e *bus.Event[string]) error { return out.Publish(ctx, e, e.Payload) })
			var got []string
			out.Subscribe(b, "g", func(_ context.Context, e *bus.Event[string]) error { got = append(got, e.Payload); return nil })
			raw := stored(t, tr, "out")
			stop := bustest.Start(t, b)
			require.NoError(t, in.Publish(t.Context(), b, string(text(4000))))
			bustest.Settle(t, b)
			assert.ErrorIs(t, out.Publish(t.Context(), b, string(text(5000))), bus.ErrTooLarge, "what counts is the size before")
			stop()
			assert.Equal(t, []string{string(text(4000))}, got)
			m := raw()
			assert.Less(t, len(m.Body), 200, "stored is the small body")
			assert.Equal(t, "zstd", m.Headers.Get("content-encoding"))
		})
	}
}

// stored reads the first message of a topic as it is stored.
func stored(t *testing.T, tr transport.Transport, name string) func() *bus.Message {
	t.Helper()
	sub, err := tr.Subscribe(t.Context(), transport.Topic{Name: name}, transport.Group{Name: "raw"})
	require.NoError(t, err)
	return func() *bus.Message {
		defer sub.Close(t.Context())
		ds, err := sub.Receive(t.Context(), 1)
		require.NoError(t, err)
		return ds[0].Message
	}
}

// FuzzHandle: whatever comes, there is an error that can be told, or a body that is not too large.
func FuzzHandle(f *testing.F) {
	f.Add([]byte("garbage"), "zstd")
	f.Add(frames(f, text(3000), 1, true), "zstd")
	f.Add(frames(f, text(3000), 2, false), "zstd")
	f.Add(frames(f, make([]byte, 100_000), 3, false), "zstd")
	f.Add(frames(f, noise(300), 1, true, zstd.WithEncoderPadding(100)), "gzip")
	const most = 50_000
	c := compress.Zstd(compress.Options{MaxDecoded: most})
	f.Fuzz(func(t *testing.T, body []byte, encoding string) {
		m := encoded(body)
		m.Headers.Set("content-encoding", encoding)
		before := m.Clone()
		got, err := handled(t, c, m)
		assert.Equal(t, before, m)
		if err != nil {
			assert.Nil(t, got)
			assert.ErrorIs(t, err, bus.ErrUndecodable)
			assert.Less(t, len(err.Error()), 300)
			return
		}
		assert.LessOrEqual(t, len(got.Body), most)
		again, err := handled(t, c, sent(t, c, got)[0])
		require.NoError(t, err)
		assert.Equal(t, string(got.Body), string(again.Body))
	})
}

func BenchmarkHandlePlain(b *testing.B) {
	benchmarkHandle(b, &bus.Message{ID: "1", Body: text(500)})
}

func BenchmarkHandle4KiB(b *testing.B) {
	c := compress.Zstd(compress.Options{})
	benchmarkHandle(b, sent(b, c, &bus.Message{ID: "1", Body: prose(4 << 10)})[0])
}

func benchmarkHandle(b *testing.B, m *bus.Message) {
	h := compress.Zstd(compress.Options{}).Handle(func(context.Context, *bus.Delivery) error { return nil })
	d, ctx := bus.NewDelivery(&transport.Delivery{Message: m}, nil), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if err := h(ctx, d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSend4KiB(b *testing.B) {
	send := compress.Zstd(compress.Options{}).Send(func(context.Context, transport.Topic, []*bus.Message) error { return nil })
	ms, ctx := []*bus.Message{{ID: "1", Body: prose(4 << 10)}}, b.Context()
	b.ReportAllocs()
	b.SetBytes(4 << 10)
	for b.Loop() {
		if err := send(ctx, topic, ms); err != nil {
			b.Fatal(err)
		}
	}
}

// prose is as compressible as JSON usually is.
func prose(n int) []byte {
	var b bytes.Buffer
	for r := rand.New(rand.NewPCG(1, 2)); b.Len() < n; {
		fmt.Fprintf(&b, `{"id":"us%08x","magnitude":%.2f,"place":"%d km of Lima"},`, r.Uint32(), 9*r.Float64(), r.IntN(500))
	}
	return b.Bytes()[:n]
}
