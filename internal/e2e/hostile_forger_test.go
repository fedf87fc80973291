package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport"
)

// A forgery is an entry as a program that is not typedbus, or means harm, stores it, and what must become of it.
type forgery struct {
	kind   string
	format string
	fields []string // names and values in the order of XADD, some doubled
	good   bool     // it is handled, and n is what its handler sees; else it is dead
	n      int
}

// A forger makes entries; the same seed makes the same.
type forger struct {
	*rand.Rand
	n      int
	zstd   *zstd.Encoder
	heavy  []func(*forger, *forgery)
	format []string
}

func newForger(t *testing.T, seed uint64) *forger {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	f := &forger{Rand: rand.New(rand.NewPCG(seed, 17)), zstd: e, format: []string{"json", "msgpack", "zstd"}}
	f.heavy = heavyKinds(t)
	return f
}

// plain is a good entry.
func (f *forger) plain() *forgery {
	f.n++
	g := &forgery{kind: "plain", format: f.format[f.IntN(len(f.format))], n: f.n, good: true}
	g.fields = f.with(g.format, Parcel{N: f.n})
	return g
}

// with are the fields of an entry with a parcel.
func (f *forger) with(format string, p Parcel) []string {
	fields := []string{"id", transport.NewID(), "ct", contentTypes[format], "data", f.body(format, p)}
	if format == "zstd" {
		fields = append(fields, "h.content-encoding", "zstd")
	}
	return fields
}

var contentTypes = map[string]string{"json": "application/json", "msgpack": "application/msgpack", "zstd": "application/json"}

func (f *forger) body(format string, p Parcel) string {
	switch format {
	case "msgpack":
		body, _ := codec.MsgPack[Parcel]().Append(nil, p)
		return string(body)
	case "zstd":
		body, _ := codec.JSON[Parcel]().Append(nil, p)
		return string(f.zstd.EncodeAll(body, nil))
	}
	body, _ := codec.JSON[Parcel]().Append(nil, p)
	return string(body)
}

// forged is an entry of a kind chosen by chance.
func (f *forger) forged() *forgery {
	g := f.plain()
	k := allForgeries[f.IntN(len(allForgeries))]
	g.kind, g.good = k.name, k.good
	k.make(f, g)
	if k.unsure {
		f.ask(g)
	}
	if !g.good && f.IntN(4) == 0 {
		oddKinds[0].make(f, g)
	}
	return g
}

// laden is an entry that is large, or decodes to something large: the nth of its kind.
func (f *forger) laden(n int) *forgery {
	g := f.plain()
	g.good = false
	f.heavy[n%len(f.heavy)](f, g)
	return g
}

// ask finds out whether what chance has made is good.
func (f *forger) ask(g *forgery) {
	m := &transport.Message{ContentType: g.get("ct"), Body: []byte(g.get("data"))}
	if encoding := g.get("h.content-encoding"); encoding != "" {
		m.Headers.Set("content-encoding", encoding)
	}
	p, err := decoded(g.format, m)
	g.good, g.n = err == nil && p.Note != notePanic, p.N
}

func (g *forgery) get(name string) string { return lastOf(g.fields)[name] }

// set puts a value in the place of a field, or appends it.
func (g *forgery) set(name, value string) {
	for i := 0; i < len(g.fields); i += 2 {
		if g.fields[i] == name {
			g.fields[i+1] = value
			return
		}
	}
	g.fields = append(g.fields, name, value)
}

func (g *forgery) drop(name string) {
	for i := len(g.fields) - 2; i >= 0; i -= 2 {
		if g.fields[i] == name {
			g.fields = slices.Delete(g.fields, i, i+2)
		}
	}
}

// lastOf is what a reader sees of fields, some of which are doubled.
func lastOf(fields []string) map[string]string {
	m := make(map[string]string, len(fields)/2)
	for i := 0; i+1 < len(fields); i += 2 {
		m[fields[i]] = fields[i+1]
	}
	return m
}

// noise is bytes of any kind, fewer than n.
func (f *forger) noise(n int) string {
	b := make([]byte, f.IntN(n))
	for i := range b {
		b[i] = byte(f.Uint32())
	}
	return string(b)
}

// changed is s with some bytes changed, cut off or doubled.
func (f *forger) changed(s string) string {
	b := []byte(s)
	for range 1 + f.IntN(4) {
		at := f.IntN(len(b) + 1)
		switch f.IntN(3) {
		case 0:
			b = b[:at]
		case 1:
			b = slices.Concat(b[:at], b[at/2:])
		default:
			b = append(b[:at:at], append([]byte{byte(f.Uint32())}, b[min(at+1, len(b)):]...)...)
		}
	}
	return string(b)
}

// A kind changes a good entry. The result of an unsure one is asked about.
type kind struct {
	name         string
	good, unsure bool
	make         func(*forger, *forgery)
}

var allForgeries = slices.Concat(oddKinds, badKinds)

// oddKinds are strange, and no harm: their handler sees what it would see without.
var oddKinds = []kind{
	{name: "forged bookkeeping", good: true, make: func(f *forger, g *forgery) {
		for _, name := range []string{"attempt", "redelivered", "replays", "origin", "reason", "error", "consumer", "died", "fields", "topic", "once", "delay", "options", "id", "key", "ct"} {
			value := []string{"99", "-1", "18446744073709551616", "0-1", "2:id1:x4:data1:y", f.noise(40)}[f.IntN(6)]
			g.fields = append(g.fields, "typedbus."+name, value)
		}
	}},
	{name: "forged trace", good: true, make: func(f *forger, g *forgery) {
		parents := []string{"00-0-0-0", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", f.noise(200), strings.Repeat("0", 70_000), "ff-" + f.noise(80)}
		g.set("h.traceparent", parents[f.IntN(len(parents))])
		g.set("h.tracestate", strings.Repeat("k=v,", f.IntN(2000))+f.noise(50))
		g.set("h.baggage", strings.Repeat("a=%FF;", f.IntN(2000))+f.noise(50))
		g.set("h.correlation-id", f.noise(5000))
	}},
	{name: "doubled, the last is good", good: true, make: func(f *forger, g *forgery) {
		before := []string{"data", f.noise(100), "id", f.noise(10), "ct", "image/png", "data", "{"}
		g.fields = append(before, g.fields...)
	}},
	{name: "foreign fields", good: true, make: func(f *forger, g *forgery) {
		for range f.IntN(30) {
			g.fields = append(g.fields, "x"+f.noise(40), f.noise(100))
		}
		g.fields = append(g.fields, "h.", "x", "h.\x00", "y", "", "", "h."+strings.Repeat("x", 200), "z", "h.typedbus-expires", f.noise(30))
	}},
	{name: "huge id and key", good: true, make: func(f *forger, g *forgery) {
		g.set("id", strings.Repeat("i", f.IntN(50_000))+f.noise(10))
		g.set("key", strings.Repeat("\x00", f.IntN(50_000)))
	}},
	{name: "no id, no content type", good: true, make: func(_ *forger, g *forgery) { g.drop("id"); g.drop("ct") }},
	{name: "id of another", good: true, make: func(_ *forger, g *forgery) { g.set("id", "always the same") }},
}

// badKinds are what nobody can handle.
var badKinds = []kind{
	{name: "no data", make: func(_ *forger, g *forgery) { g.drop("data") }},
	{name: "of another library", make: func(f *forger, g *forgery) { g.fields = slices.Clone(strangers[f.IntN(len(strangers))]) }},
	{name: "nothing but noise", make: func(f *forger, g *forgery) {
		g.fields = nil
		for range 1 + f.IntN(20) {
			g.fields = append(g.fields, "n"+f.noise(30), f.noise(300))
		}
	}},
	{name: "noise for a body", unsure: true, make: func(f *forger, g *forgery) { g.set("data", f.noise(500)) }},
	{name: "changed", unsure: true, make: func(f *forger, g *forgery) { g.set("data", f.changed(g.get("data"))) }},
	{name: "changed more", unsure: true, make: func(f *forger, g *forgery) {
		g.set("data", f.changed(f.changed(f.body(g.format, Parcel{N: -1, Note: "changed"}))))
	}},
	{name: "doubled, the last is bad", make: func(f *forger, g *forgery) { g.fields = append(g.fields, "data", "\xc1"+f.noise(9)) }},
	{name: "foreign content type", make: func(f *forger, g *forgery) { g.set("ct", "application/x-foreign;"+f.noise(50)) }},
	{name: "of another format", make: func(f *forger, g *forgery) {
		g.set("data", f.body(map[string]string{"json": "msgpack", "msgpack": "json", "zstd": "msgpack"}[g.format], Parcel{N: 1, Note: "x"}))
	}},
	{name: "foreign encoding", make: func(f *forger, g *forgery) {
		g.set("h.content-encoding", []string{"gzip", "br", "zstd, zstd", f.noise(40) + "?"}[f.IntN(4)])
	}},
	{name: "encoding that is none", make: func(f *forger, g *forgery) {
		g.set("data", "{"+f.noise(50))
		g.set("h.content-encoding", "zstd")
	}},
	{name: "length bomb", make: func(f *forger, g *forgery) {
		head := []string{"\xdd", "\xdf", "\xc6", "\xdb", "\xc9"}[f.IntN(5)]
		g.format, g.fields = "msgpack", []string{"ct", contentTypes["msgpack"], "data", head + "\xff\xff\xff\xff" + f.noise(9)}
	}},
	{name: "length bomb in a field", make: func(f *forger, g *forgery) {
		g.format, g.fields = "msgpack", []string{"ct", contentTypes["msgpack"], "data", "\x81\xa4Note\xdb\x7f\xff\xff\xff" + f.noise(9)}
	}},
	{name: "expired", make: func(_ *forger, g *forgery) { g.set("h.typedbus-expires", "2001-02-03T04:05:06Z") }},
	{name: "its handler panics", make: func(f *forger, g *forgery) { g.set("data", f.body(g.format, Parcel{N: 1, Note: notePanic})) }},
}

// strangers are entries of other libraries.
var strangers = [][]string{
	{"_watermill_message_uuid", "2f1", "metadata", "\x80", "payload", `{"N":1}`},
	{"message", `{"uuid":"2f1","task":"parcels.sort","args":[1],"kwargs":{}}`},
	{"event", "added", "jobId", "1", "name", "sort", "delay", "0"},
	{"_class", "com.example.Parcel", "n", "1", "note", ""},
	{"specversion", "1.0", "type", "parcel", "source", "/x", "id", "1", "data", "<parcel n='1'/>"},
	{"body", "eyJOIjoxfQ==", "headers", "{}", "timestamp", "1526919030474"},
	{"data", "O:6:\"Parcel\":1:{s:1:\"n\";i:1;}", "id", "1"},
}

// heavyKinds are made once: their bodies are shared.
func heavyKinds(t *testing.T) []func(*forger, *forgery) {
	is := func(kind, format string, fields ...string) func(*forger, *forgery) {
		return func(_ *forger, g *forgery) { g.kind, g.format, g.fields = kind, format, fields }
	}
	many := []string{"id", "many"}
	for i := range 10_000 {
		many = append(many, fmt.Sprint("field", i), "x")
	}
	deep := strings.Repeat("[", 5<<20) + strings.Repeat("]", 5<<20)
	return []func(*forger, *forgery){
		is("5 MB", "json", "id", "5", "data", `{"N":"`+strings.Repeat("x", 5<<20)+`"}`),
		is("over the bound", "json", "data", `{"Note":"`+strings.Repeat("x", 12<<20)+`"}`),
		is("10,000 fields", "json", many...),
		is("10 MB of nesting", "json", "data", deep),
		is("10 MB of nesting in a field", "json", "data", `{"N":1,"other":`+deep+`}`),
		is("10 MB of msgpack nesting", "msgpack", "data", strings.Repeat("\x91", 10<<20)),
		is("zstd bomb", "zstd", "h.content-encoding", "zstd", "data", zstdBomb(t, 256<<20, 1)),
		is("zstd bomb of many frames", "zstd", "h.content-encoding", "zstd", "data", zstdBomb(t, 4<<20, 500)),
		is("zstd bomb of nesting", "zstd", "h.content-encoding", "zstd", "data", string(mustZstd(t, []byte(deep)))),
		is("gzip bomb", "zstd", "h.content-encoding", "gzip", "data", gzipBomb(t, 256<<20)),
		is("2 MB header", "json", "h.x", strings.Repeat("\xff", 2<<20)),
	}
}

// zstdBomb is frames of size zeros each, many times.
func zstdBomb(t *testing.T, size, times int) string {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	require.NoError(t, err)
	zeros := make([]byte, 1<<20)
	for range size / len(zeros) {
		_, _ = w.Write(zeros)
	}
	require.NoError(t, w.Close())
	return strings.Repeat(b.String(), times)
}

func mustZstd(t *testing.T, plain []byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	return w.EncodeAll(plain, nil)
}

func gzipBomb(t *testing.T, size int) string {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	require.NoError(t, err)
	zeros := make([]byte, 1<<20)
	for range size / len(zeros) {
		_, _ = w.Write(zeros)
	}
	require.NoError(t, w.Close())
	return b.String()
}
