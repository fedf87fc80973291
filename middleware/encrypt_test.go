package middleware_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/compress"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// ringOf makes a ring of keys with these ids; equal ids have equal secrets.
func ringOf(t testing.TB, o middleware.EncryptionOptions, ids ...string) *middleware.Encryption {
	t.Helper()
	for _, id := range ids {
		o.Keys = append(o.Keys, middleware.EncryptionKey{ID: id, Secret: secretOf(id)})
	}
	e, err := middleware.NewEncryption(o)
	require.NoError(t, err)
	return e
}

func secretOf(id string) []byte { return []byte((id + strings.Repeat("-very secret-", 3))[:32]) }

// sealed is the message that Send makes.
func sealed(t testing.TB, e *middleware.Encryption, m *bus.Message) (out *bus.Message) {
	t.Helper()
	send := e.Send(func(_ context.Context, _ transport.Topic, ms []*bus.Message) error { out = ms[0]; return nil })
	require.NoError(t, send(t.Context(), transport.Topic{Name: "orders"}, []*bus.Message{m}))
	return out
}

// opened is the message that the handler gets.
func opened(t testing.TB, e *middleware.Encryption, topic string, m *bus.Message) (got *bus.Message, err error) {
	t.Helper()
	h := e.Handle(func(_ context.Context, d *bus.Delivery) error { got = d.Message; return nil })
	err = h(t.Context(), bus.NewDelivery(&transport.Delivery{Message: m, Topic: topic}, nil))
	return got, err
}

func order(body string) *bus.Message {
	return &bus.Message{ID: "1", Key: "k", ContentType: "application/json", Body: []byte(body), Headers: transport.Headers{{Name: "a", Value: "b"}}}
}

func TestEncryptionRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{16, 24, 32}).Draw(rt, "bytes of the secret")
		secret := rapid.SliceOfN(rapid.Byte(), n, n).Draw(rt, "secret")
		e, err := middleware.NewEncryption(middleware.EncryptionOptions{Keys: []middleware.EncryptionKey{{ID: "k", Secret: secret}}})
		require.NoError(rt, err)
		m := order(rapid.String().Draw(rt, "body"))
		before := m.Clone()
		out := sealed(t, e, m)
		assert.Equal(rt, before, m, "the publisher's message stays as it is")
		assert.Equal(rt, "aes-gcm; key=k", out.Headers.Get("encryption"))
		assert.Len(rt, out.Body, len(m.Body)+28)
		if len(m.Body) > 4 {
			assert.NotContains(rt, string(out.Body), string(m.Body))
		}
		assert.NotEqual(rt, out.Body, sealed(t, e, m).Body, "no nonce is used twice")
		stored := out.Clone()
		got, err := opened(t, e, "orders", out)
		require.NoError(rt, err)
		assert.Equal(rt, string(before.Body), string(got.Body))
		got.Body = before.Body
		assert.Equal(rt, before, got)
		assert.Equal(rt, stored, out, "what was stored stays as it is")
	})
}

func TestEncryptionRotation(t *testing.T) {
	old, both, turned, renewed := ringOf(t, middleware.EncryptionOptions{}, "2025"), ringOf(t, middleware.EncryptionOptions{}, "2025", "2026"),
		ringOf(t, middleware.EncryptionOptions{}, "2026", "2025"), ringOf(t, middleware.EncryptionOptions{}, "2026")
	for _, c := range []struct {
		from, to *middleware.Encryption
		can      bool
	}{
		{old, both, true}, {both, old, true}, {old, turned, true}, {turned, both, true}, {renewed, turned, true}, {turned, renewed, true},
		{turned, old, false}, {old, renewed, false},
	} {
		m, err := opened(t, c.to, "orders", sealed(t, c.from, order("hello")))
		if c.can {
			require.NoError(t, err)
			assert.Equal(t, "hello", string(m.Body))
			continue
		}
		assert.Equal(t, bus.Failed, bus.VerdictOf(err).Kind, "another process may have the key: %v", err)
		assert.ErrorContains(t, err, "no key has the id")
		assert.Nil(t, m)
	}
}

func TestEncryptionRefuses(t *testing.T) {
	e := ringOf(t, middleware.EncryptionOptions{AllowPlain: true}, "a", "b")
	strict := ringOf(t, middleware.EncryptionOptions{}, "a", "b")
	good := sealed(t, e, order("hello"))
	with := func(change func(m *bus.Message)) *bus.Message {
		m := good.Clone()
		change(m)
		return m
	}
	flipped := func(i int) func(m *bus.Message) { return func(m *bus.Message) { m.Body[i] ^= 1 } }
	header := func(v string) func(m *bus.Message) { return func(m *bus.Message) { m.Headers.Set("encryption", v) } }
	for name, c := range map[string]struct {
		e     *middleware.Encryption
		topic string
		m     *bus.Message
		want  string
	}{
		"another topic":    {e, "order", good, "another topic"},
		"the nonce":        {e, "orders", with(flipped(0)), "was changed"},
		"the text":         {e, "orders", with(flipped(14)), "was changed"},
		"the tag":          {e, "orders", with(flipped(len(good.Body) - 1)), "was changed"},
		"cut off":          {e, "orders", with(func(m *bus.Message) { m.Body = m.Body[:len(m.Body)-1] }), "was changed"},
		"too short":        {e, "orders", with(func(m *bus.Message) { m.Body = m.Body[:20] }), "was changed"},
		"empty":            {e, "orders", with(func(m *bus.Message) { m.Body = nil }), "was changed"},
		"longer":           {e, "orders", with(func(m *bus.Message) { m.Body = append(m.Body, 0) }), "was changed"},
		"another key":      {e, "orders", with(header("aes-gcm; key=b")), "was changed"},
		"another scheme":   {e, "orders", with(header("rot13; key=a")), `encrypted as "rot13; key=a"`},
		"an empty header":  {e, "orders", with(header("")), `encrypted as ""`},
		"a long header":    {e, "orders", with(header(strings.Repeat("x", 1000))), "xxx"},
		"not encrypted":    {strict, "orders", order("hello"), "is not encrypted"},
		"header taken off": {strict, "orders", with(func(m *bus.Message) { m.Headers.Del("encryption") }), "is not encrypted"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := opened(t, c.e, c.topic, c.m)
			assert.Nil(t, m, "the handler is not called")
			assert.Equal(t, bus.PermanentlyFailed, bus.VerdictOf(err).Kind)
			assert.ErrorIs(t, err, bus.ErrUndecodable)
			assert.ErrorContains(t, err, c.want)
			assert.Less(t, len(err.Error()), 250)
		})
	}
	plain := order("hello")
	m, err := opened(t, e, "orders", plain)
	require.NoError(t, err)
	assert.Same(t, plain, m, "AllowPlain")

	refused := bus.DeadLetter("bad", nil)
	h := strict.Handle(func(context.Context, *bus.Delivery) error { return refused })
	assert.Equal(t, refused, h(t.Context(), bus.NewDelivery(&transport.Delivery{Message: good, Topic: "orders"}, nil)), "a verdict passes unchanged")
	malformed := &transport.Delivery{Message: order(""), Malformed: errors.New("no message")}
	assert.Equal(t, refused, h(t.Context(), bus.NewDelivery(malformed, nil)), "the bus says what is wrong with it")
}

func TestEncryptionSend(t *testing.T) {
	e := ringOf(t, middleware.EncryptionOptions{}, "a")
	away := errors.New("away")
	calls := 0
	send := e.Send(func(_ context.Context, _ transport.Topic, ms []*bus.Message) error {
		calls++
		assert.Len(t, ms, 3)
		assert.Nil(t, ms[1])
		return away
	})
	ms := []*bus.Message{order("1"), nil, order("2")}
	assert.Equal(t, away, send(t.Context(), transport.Topic{Name: "orders"}, ms))
	ms[2].Headers.Set("encryption", "aes-gcm; key=a")
	assert.ErrorContains(t, send(t.Context(), transport.Topic{Name: "orders"}, ms), `a header "encryption"`)
	assert.Equal(t, 1, calls, "nothing is sent")
}

func TestEncryptionMistakes(t *testing.T) {
	key := func(id string, n int) middleware.EncryptionKey {
		return middleware.EncryptionKey{ID: id, Secret: bytes.Repeat([]byte("S"), n)}
	}
	for want, keys := range map[string][]middleware.EncryptionKey{
		"no keys":               nil,
		"secret of key a has 0": {{ID: "a"}},
		"secret of key b has 31 bytes: it must be 16, 24 or 32": {key("a", 16), key("b", 31)},
		"bad key name":                 {key("", 16)},
		`bad key name "a b"`:           {key("a b", 16)},
		"two keys with the id a":       {key("a", 16), key("b", 16), key("a", 32)},
		"has 1 bytes: it must be":      {key("a", 1), key("c d", 2)},
		`bad key name "c d": use a le`: {key("a", 1), key("c d", 2)},
	} {
		e, err := middleware.NewEncryption(middleware.EncryptionOptions{Keys: keys})
		assert.Nil(t, e)
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "SSS")
	}
}

// TestEncryptionShowsNoSecret: no verb, no encoding and no log shows a secret, nor the key schedule made of it.
func TestEncryptionShowsNoSecret(t *testing.T) {
	e := ringOf(t, middleware.EncryptionOptions{}, "a", "b")
	k := middleware.EncryptionKey{ID: "a", Secret: secretOf("a")}
	o := middleware.EncryptionOptions{Keys: []middleware.EncryptionKey{k}}
	holder := struct {
		E *middleware.Encryption
		V middleware.Encryption
		O middleware.EncryptionOptions
		K *middleware.EncryptionKey
	}{e, *e, o, &k}
	var shown bytes.Buffer
	for _, v := range []any{e, *e, k, &k, o, &o, holder, &holder, []any{holder}, map[string]any{"k": k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c"} {
			fmt.Fprintf(&shown, verb+"\n", v)
		}
		fmt.Fprintln(&shown, v)
		slog.New(slog.NewTextHandler(&shown, nil)).Info("text", "v", v)
		slog.New(slog.NewJSONHandler(&shown, nil)).Info("json", "v", v)
		_ = json.NewEncoder(&shown).Encode(v)
	}
	text := strings.ToLower(shown.String())
	secret := secretOf("a")[:16]
	bytesIn := func(format string) string { return strings.Trim(fmt.Sprintf(format, secret[:6]), "[]") }
	for _, s := range []string{string(secret), hex.EncodeToString(secret[:8]), bytesIn("%d"), bytesIn("%x"), bytesIn("%v"),
		base64.StdEncoding.EncodeToString(secret[:6]), "0x61, 0x2d", "cipher", "gcm{"} {
		assert.NotContains(t, text, strings.ToLower(s))
	}
	assert.Equal(t, "aes-gcm; key=a, 2 to decrypt with, plain bodies are refused", fmt.Sprint(e))
	assert.Equal(t, "key a", fmt.Sprint(k))
	assert.EqualError(t, e.Handle(nil)(nil, nil), "middleware.Encryption")
}

var (
	drafts = bus.NewTopic("drafts", codec.JSON[string]())
	prints = bus.NewTopic("prints", codec.JSON[string]())
)

// TestCompressedAndEncrypted: both on a bus, published through it and through an event, and readable in neither topic.
func TestCompressedAndEncrypted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		t.Cleanup(func() { tr.Close() }) // not deferred: the bus is drained by a cleanup
		c, e := compress.Zstd(compress.Options{}), ringOf(t, middleware.EncryptionOptions{}, "a")
		b := bus.New(tr, bus.Logger(nil), bus.Use(e.Handle, c.Handle), bus.UseSend(c.Send, e.Send))
		drafts.Subscribe(b, "press", func(ctx context.Context, d *bus.Event[string]) error { return prints.Publish(ctx, d, d.Payload) })
		var got []string
		prints.Subscribe(b, "shop", func(_ context.Context, p *bus.Event[string]) error { got = append(got, p.Payload); return nil })
		raw := []transport.Subscription{rawOf(t, tr, "drafts"), rawOf(t, tr, "prints")}
		bustest.Start(t, b)
		text := strings.Repeat("what nobody else should read. ", 300)
		require.NoError(t, drafts.Publish(t.Context(), b, text))
		bustest.Settle(t, b)
		assert.Equal(t, []string{text}, got)
		for _, sub := range raw {
			ds, err := sub.Receive(t.Context(), 1)
			require.NoError(t, err)
			assert.Less(t, len(ds[0].Body), 300, "compressed first")
			assert.NotContains(t, string(ds[0].Body), "read")
			assert.Equal(t, "zstd", ds[0].Headers.Get("content-encoding"))
			assert.Equal(t, "aes-gcm; key=a", ds[0].Headers.Get("encryption"))
			require.NoError(t, sub.Close(t.Context()))
		}
	})
}

// rawOf is a subscription that sees what is stored.
func rawOf(t *testing.T, tr transport.Transport, topic string) transport.Subscription {
	t.Helper()
	sub, err := tr.Subscribe(t.Context(), transport.Topic{Name: topic}, transport.Group{Name: "raw"})
	require.NoError(t, err)
	return sub
}

// TestEncryptedLetters: a dead letter keeps the body as it was stored.
func TestEncryptedLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		t.Cleanup(func() { tr.Close() }) // not deferred: the bus is drained by a cleanup
		e := ringOf(t, middleware.EncryptionOptions{}, "a")
		b := bus.New(tr, bus.Logger(nil), bus.Use(e.Handle), bus.UseSend(e.Send))
		drafts.Subscribe(b, "press", func(_ context.Context, d *bus.Event[string]) error {
			return bus.DeadLetter("bad", errors.New("no "+d.ID))
		})
		bustest.Start(t, b)
		require.NoError(t, drafts.Publish(t.Context(), b, "what nobody else should read"))
		bustest.Settle(t, b)
		letters, err := tr.Letters(t.Context(), transport.Topic{Name: "drafts"}, "press", "", 10)
		require.NoError(t, err)
		require.Len(t, letters, 1)
		assert.NotContains(t, string(letters[0].Body), "read")
		m, err := opened(t, e, "drafts", letters[0].Message)
		require.NoError(t, err)
		assert.Equal(t, `"what nobody else should read"`, string(m.Body))
	})
}

func TestEncryptionIsForManyAtOnce(t *testing.T) {
	e := ringOf(t, middleware.EncryptionOptions{}, "a", "b")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 500 {
				body := fmt.Sprint(i, n)
				m, err := opened(t, e, "orders", sealed(t, e, order(body)))
				assert.NoError(t, err)
				assert.Equal(t, body, string(m.Body))
			}
		})
	}
	wg.Wait()
}

// FuzzDecrypt: nothing that was not encrypted with a key of the ring reaches a handler.
func FuzzDecrypt(f *testing.F) {
	e := ringOf(f, middleware.EncryptionOptions{}, "a")
	good := sealed(f, e, order("hello"))
	f.Add(good.Body, "aes-gcm; key=a", "order")
	f.Add(good.Body[:20], "aes-gcm; key=a", "orders")
	f.Add([]byte(nil), "aes-gcm; key=", "orders")
	f.Fuzz(func(t *testing.T, body []byte, header, topic string) {
		if bytes.Equal(body, good.Body) && header == "aes-gcm; key=a" && topic == "orders" {
			return
		}
		m := order("")
		m.Body = body
		m.Headers.Set("encryption", header)
		_, err := opened(t, e, topic, m)
		require.Error(t, err)
		assert.Less(t, len(err.Error()), 800)
	})
}

func BenchmarkEncryptionHandle(b *testing.B) {
	e := ringOf(b, middleware.EncryptionOptions{}, "a")
	h := e.Handle(func(context.Context, *bus.Delivery) error { return nil })
	m := sealed(b, e, order(strings.Repeat("x", 1<<10)))
	d, ctx := bus.NewDelivery(&transport.Delivery{Message: m, Topic: "orders"}, nil), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if err := h(ctx, d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncryptionSend(b *testing.B) {
	send := ringOf(b, middleware.EncryptionOptions{}, "a").Send(func(context.Context, transport.Topic, []*bus.Message) error { return nil })
	ms, ctx := []*bus.Message{order(strings.Repeat("x", 1<<10))}, b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if err := send(ctx, transport.Topic{Name: "orders"}, ms); err != nil {
			b.Fatal(err)
		}
	}
}
