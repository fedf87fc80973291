package dlq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// put stores a letter as it is.
func put(t require.TestingT, tr transport.LetterArchive, ls ...*dlq.Letter) {
	for _, l := range ls {
		_, err := tr.PutLetter(context.Background(), transport.Topic{Name: orders.Name()}, "billing", l, "")
		require.NoError(t, err)
	}
}

func export(t require.TestingT, tr transport.Transport) string {
	var b strings.Builder
	n, err := queue(tr).Export(context.Background(), &b, dlq.Filter{})
	require.NoError(t, err)
	require.Equal(t, n, strings.Count(b.String(), "\n"))
	return b.String()
}

// content are the letters without what each queue gives its own.
func content(t require.TestingT, tr transport.Transport) (ls []dlq.Letter) {
	for l, err := range queue(tr).All(context.Background(), dlq.Filter{}) {
		require.NoError(t, err)
		c := *l
		c.LetterID, c.Died = "", c.Died.UTC()
		c.Message.Time = c.Message.Time.UTC()
		if len(c.Headers) == 0 {
			c.Headers = nil
		}
		slices.SortFunc(c.Headers, func(a, b transport.Header) int { return strings.Compare(a.Name, b.Name) }) // their order is the transport's
		ls = append(ls, c)
	}
	return ls
}

var (
	stored = time.Date(2026, 11, 23, 14, 0, 0, 120_000_000, time.UTC)
	died   = stored.Add(time.Hour)
)

// awkward are letters whose values are hard to write down.
func awkward() []*dlq.Letter {
	return []*dlq.Letter{
		{Message: &transport.Message{ID: "id-1", Key: "k", ContentType: "application/json", Time: stored, Body: []byte(`{"a":"<ü> "}`),
			Headers: transport.Headers{{Name: "tenant", Value: "acme"}, {Name: "raw", Value: "\xff\x00"}, {Name: "empty"}}},
			Reason: dlq.Exhausted, Error: "timeout", Attempt: 5, Redelivered: 1, Replays: 2, Consumer: "host-1", Died: died},
		{Message: &transport.Message{ID: "\xffid", Key: "\xfe", ContentType: "\xfd", Time: stored, Body: []byte("\xff\x00\n")},
			Reason: "\xff", Error: "\n", Attempt: 1, Consumer: "\xfd", Died: died.Add(time.Millisecond)},
		{Message: &transport.Message{ID: "empty", Time: stored, Body: []byte{}}, Died: died},
		{Message: &transport.Message{ID: "line\u2028\n\x00\"\\\ufffd", Time: stored, Body: []byte("\ufffd\\ud800")}, Died: died},
	}
}

func TestTheFormat(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	put(t, tr, awkward()...)
	put(t, tr, &dlq.Letter{Message: &transport.Message{ID: "malformed", Time: stored}, Error: "\xff", Died: died})
	want := `{"v":1,"topic":"orders.placed","group":"billing","letter_id":"1","reason":"exhausted","error":"timeout","attempt":5,"redelivered":1,"replays":2,"consumer":"host-1","died":"2026-11-23T15:00:00.12Z","time":"2026-11-23T14:00:00.12Z","id":"id-1","key":"k","content_type":"application/json","headers":[{"name":"tenant","value":"acme"},{"name":"raw","value_base64":"/wA="},{"name":"empty"}],"body":"{\"a\":\"<ü> \"}"}
{"v":1,"topic":"orders.placed","group":"billing","letter_id":"2","reason_base64":"/w==","error":"\n","attempt":1,"redelivered":0,"replays":0,"consumer_base64":"/Q==","died":"2026-11-23T15:00:00.121Z","time":"2026-11-23T14:00:00.12Z","id_base64":"/2lk","key_base64":"/g==","content_type_base64":"/Q==","body_base64":"/wAK"}
{"v":1,"topic":"orders.placed","group":"billing","letter_id":"3","attempt":0,"redelivered":0,"replays":0,"died":"2026-11-23T15:00:00.12Z","time":"2026-11-23T14:00:00.12Z","id":"empty","body":""}
{"v":1,"topic":"orders.placed","group":"billing","letter_id":"4","attempt":0,"redelivered":0,"replays":0,"died":"2026-11-23T15:00:00.12Z","time":"2026-11-23T14:00:00.12Z","id":"line\u2028\n\u0000\"\\` + "\ufffd" + `","body":"` + "\ufffd" + `\\ud800"}
{"v":1,"topic":"orders.placed","group":"billing","letter_id":"5","error_base64":"/w==","attempt":0,"redelivered":0,"replays":0,"died":"2026-11-23T15:00:00.12Z","time":"2026-11-23T14:00:00.12Z","id":"malformed"}
`
	assert.Equal(t, strings.Split(want, "\n"), strings.Split(export(t, tr), "\n"))
}

func TestImportIsExportBackwards(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		source, back := memory.New(), memory.New()
		defer source.Close()
		defer back.Close()
		put(t, source, awkward()...)
		for _, way := range []struct{ from, to transport.Transport }{{source, tr}, {tr, back}} {
			file := export(t, way.from)
			rep, err := queue(way.to).Import(t.Context(), strings.NewReader(file))
			require.NoError(t, err)
			assert.Equal(t, dlq.Report{Matched: 4, Done: 4}, rep)
			assert.Equal(t, content(t, source), content(t, way.to))
			rep, err = queue(way.to).Import(t.Context(), strings.NewReader(file+"\n \r\n"+file))
			require.NoError(t, err)
			assert.Equal(t, dlq.Report{Matched: 8, Skipped: 8}, rep, "they are there")
		}
	})
}

// TestLettersAreComparedToTheMillisecond: Redis keeps no more.
func TestLettersAreComparedToTheMillisecond(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		line := `{"v":1,"topic":"orders.placed","group":"billing","id":"1","died":"2026-11-23T15:00:00.123987654Z"}`
		for _, want := range []dlq.Report{{Matched: 1, Done: 1}, {Matched: 1, Skipped: 1}} {
			rep, err := queue(tr).Import(t.Context(), strings.NewReader(line))
			require.NoError(t, err)
			assert.Equal(t, want, rep)
		}
	})
}

func anyLetter(t *rapid.T) *dlq.Letter {
	text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 8), func(b []byte) string { return string(b) }))
	at := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
	})
	n := rapid.IntRange(0, 1000)
	m := &transport.Message{
		ID: "m" + rapid.StringN(0, 2, 2).Draw(t, "id"), Key: text.Draw(t, "key"), ContentType: text.Draw(t, "type"), Time: at.Draw(t, "time"),
		Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
	}
	for _, name := range rapid.SliceOfDistinct(rapid.StringMatching(`[!-~]{1,9}`), rapid.ID).Draw(t, "headers") {
		m.Headers = append(m.Headers, transport.Header{Name: name, Value: text.Draw(t, "value")})
	}
	return &dlq.Letter{
		Message: m, Reason: text.Draw(t, "reason"), Error: text.Draw(t, "error"), Consumer: text.Draw(t, "consumer"),
		Attempt: n.Draw(t, "attempt"), Redelivered: n.Draw(t, "redelivered"), Replays: n.Draw(t, "replays"), Died: at.Draw(t, "died"),
	}
}

// TestAnImportThatWasKilledIsFinishedByAnother: whatever the letters, wherever the file was cut, and however often.
func TestAnImportThatWasKilledIsFinishedByAnother(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		source, target := memory.New(), memory.New()
		defer source.Close()
		defer target.Close()
		put(rt, source, rapid.SliceOfN(rapid.Custom(anyLetter), 0, 6).Draw(rt, "letters")...)
		if rapid.Bool().Draw(rt, "with a copy") { // two letters that only their ids tell apart
			for l, err := range queue(source).All(context.Background(), dlq.Filter{}) {
				require.NoError(rt, err)
				put(rt, source, l)
			}
		}
		file := export(rt, source)
		for range rapid.IntRange(0, 2).Draw(rt, "kills") {
			part := file[:rapid.IntRange(0, len(file)).Draw(rt, "cut")]
			_, _ = queue(target).Import(context.Background(), strings.NewReader(part))
		}
		_, err := queue(target).Import(context.Background(), strings.NewReader(file))
		require.NoError(rt, err)
		require.Equal(rt, content(rt, source), content(rt, target))
	})
}

// TestAnEmptyBodyIsNoMalformedOne: an event without a body, exported from memory, is the same on Redis.
func TestAnEmptyBodyIsNoMalformedOne(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		topic := transport.Topic{Name: orders.Name()}
		sub, err := tr.Subscribe(t.Context(), topic, transport.Group{Name: "billing"})
		require.NoError(t, err)
		require.NoError(t, tr.Publish(t.Context(), topic, []*transport.Message{{ID: "1"}}))
		ds, err := sub.Receive(t.Context(), 1)
		require.NoError(t, err)
		require.NoError(t, sub.Settle(t.Context(), []transport.Settlement{{Delivery: ds[0], Verdict: transport.Dead}}))
		require.NoError(t, sub.Close(t.Context()))
		assert.Contains(t, export(t, tr), `"body":""`)
	})
}

// TestExportOfATimeBeyondTheCalendar: a foreign stream whose ids are microseconds must not make its letters unreadable.
func TestExportOfATimeBeyondTheCalendar(t *testing.T) {
	s := redistest.Start(t)
	require.NoError(t, s.Client().XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name(), ID: "1700000000000000-0", Values: []string{"id", "x", "data", "{}"}}).Err())
	tr := open(t, s.URL)
	sub, err := tr.Subscribe(t.Context(), transport.Topic{Name: orders.Name()}, transport.Group{Name: "billing"})
	require.NoError(t, err)
	ds, err := sub.Receive(t.Context(), 1)
	require.NoError(t, err)
	require.NoError(t, sub.Settle(t.Context(), []transport.Settlement{{Delivery: ds[0], Verdict: transport.Dead}}))
	require.NoError(t, sub.Close(t.Context()))

	text := export(t, tr)
	assert.Contains(t, text, `"time":"9999-12-31T23:59:59.999Z"`)
	rep, err := queue(tr).Import(t.Context(), strings.NewReader(text))
	require.NoError(t, err)
	assert.Equal(t, dlq.Report{Matched: 1, Skipped: 1}, rep)
	_, err = queue(tr).Discard(t.Context(), dlq.Filter{All: true}, dlq.DiscardOptions{})
	require.NoError(t, err)
	rep, err = queue(tr).Import(t.Context(), strings.NewReader(text))
	require.NoError(t, err)
	assert.Equal(t, dlq.Report{Matched: 1, Done: 1}, rep)
}

const good = `{"v":1,"topic":"orders.placed","group":"billing","letter_id":"%d","died":"2026-11-23T15:00:00Z","id":"%d","body":"secret"}`

func TestBadLinesArePassedOverAndTold(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	change := func(old, new string) string { return strings.Replace(fmt.Sprintf(good, 9, 9), old, new, 1) }
	for line, want := range map[string]string{
		"secret":                            "not JSON at byte 1",
		`{"v":1,"secret`:                    "cut off",
		`["secret"]`:                        "no JSON object",
		`"secret"`:                          "no JSON object",
		"\xff":                              "not UTF-8",
		change(`"secret"`, "\"\xff\""):      "not UTF-8",
		change(`"v":1`, `"v":2,"secret":3`): "version 2 of the format, and this reads 1",
		change(`"v":1`, `"v":2`):            "version 2 of the format, and this reads 1",
		change(`"v":1,`, ``):                "version 0 of the format, and this reads 1",
		change(`"v":1`, `"v":1,"secret":3`): "a field that version 1 does not have",
		change(`"secret"`, `12345`):         "the field body has another type",
		change(`"secret"`, `"secret","attempt":"secret"`):                                     "the field attempt has another type",
		change(`"secret"`, `"secret","headers":[{"name":{}}]`):                                "the field headers.name has another type",
		change(`2026-11-23T15:00:00Z`, `secret`):                                              "a time that is not RFC 3339",
		change(`"died":"2026-11-23T15:00:00Z",`, ``):                                          "no died",
		change(`"secret"`, `"secret"} {"secret":1`):                                           "more than one JSON value",
		change(`"secret"`, `"secret\ud800"`):                                                  `half of a \u surrogate pair`,
		change(`"secret"`, `"secret\udc00\ud800"`):                                            `half of a \u surrogate pair`,
		change(`"secret"`, `"\ud800\u0041"`):                                                  `half of a \u surrogate pair`,
		change(`"body":"secret"`, `"body_base64":"secret!"`):                                  "bad base64",
		change(`"secret"`, `"secret","body_base64":"c2VjcmV0"`):                               "a field both as text and as base64",
		change(`"secret"`, `"","body_base64":"c2VjcmV0"`):                                     "a field both as text and as base64",
		change(`"secret"`, `"secret","key":"a","key_base64":"YQ=="`):                          "a field both as text and as base64",
		change(`"id":"9",`, ``):                                                               "a message without an id",
		change(`"secret"`, `"secret","headers":[{"name":"a b"}]`):                             "bad header name",
		change(`"secret"`, `"secret","headers":[{"name":"x"},{"name":"x","value":"secret"}]`): "the header x is there twice",
		change(`"secret"`, `"secret","replays":-1`):                                           "a negative count",
		change(`"billing"`, `"shipping"`):                                                     "a letter of another topic or group",
		change(`"orders.placed"`, `"orders.shipped"`):                                         "a letter of another topic or group",
	} {
		t.Run(want, func(t *testing.T) {
			q := dlq.NewQueue(memory.New(), orders.Name(), "billing", dlq.QueueOptions{})
			rep, err := q.Import(t.Context(), strings.NewReader(fmt.Sprintf(good, 1, 1)+"\n\n"+line+"\r\n"+fmt.Sprintf(good, 2, 2)))
			assert.Equal(t, dlq.Report{Matched: 3, Done: 2, Failed: 1}, rep)
			require.ErrorContains(t, err, "dlq: import orders.placed/billing: line 3: "+want)
			assert.NotContains(t, err.Error(), "secret")
			var le *dlq.LineError
			require.ErrorAs(t, err, &le)
			assert.Equal(t, 3, le.Line)
			assert.NotContains(t, acts(t, q)[1].Detail, "secret")
		})
	}
}

func TestWhatIsTextInJSON(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	line := strings.Replace(fmt.Sprintf(good, 1, 1), "secret", `\ud83d\ude00 \\ud800 \ufffd \"\n`, 1)
	_, err := queue(tr).Import(t.Context(), strings.NewReader(line))
	require.NoError(t, err)
	assert.Equal(t, "😀 \\ud800 \ufffd \"\n", string(letters(t, queue(tr), dlq.Filter{})[0].Body))
}

func TestManyBadLinesAreCounted(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	rep, err := queue(tr).Import(t.Context(), strings.NewReader(strings.Repeat("x\n", 50)+fmt.Sprintf(good, 1, 1)))
	assert.Equal(t, dlq.Report{Matched: 51, Done: 1, Failed: 50}, rep)
	require.ErrorContains(t, err, "line 20: not JSON")
	assert.NotContains(t, err.Error(), "line 21:")
	assert.ErrorContains(t, err, "and 30 bad lines more")
}

func TestALineThatIsTooLong(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	line := func(size int) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{}), int64(size)) } // which has newlines
	spaces := func(size int) io.Reader { return io.LimitReader(blank{}, int64(size)) }
	in := io.MultiReader(spaces(maxLine+1), strings.NewReader("\n"+fmt.Sprintf(good, 1, 1)), spaces(maxLine-200), strings.NewReader("\n"), spaces(maxLine+1))
	rep, err := queue(tr).Import(t.Context(), in)
	assert.Equal(t, dlq.Report{Matched: 3, Done: 1, Failed: 2}, rep)
	assert.ErrorContains(t, err, "line 1: longer than 67108864 bytes")
	assert.ErrorContains(t, err, "line 3: longer than 67108864 bytes")
	_, err = queue(tr).Import(t.Context(), line(1<<20))
	assert.Error(t, err)
	count(t, queue(tr), 1)

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = queue(tr).Import(t.Context(), spaces(12*maxLine))
	assert.ErrorContains(t, err, "line 1: longer")
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(12*maxLine), "it is not kept")
}

const maxLine = 64 << 20

// blank is an endless line.
type blank struct{}

func (blank) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestAnImportThatCannotGoOnSaysWhere(t *testing.T) {
	file := "bad\n" + fmt.Sprintf(good, 1, 1) + "\n" + fmt.Sprintf(good, 2, 2) + "\n" + fmt.Sprintf(good, 3, 3)
	tr := &faulty{Transport: memory.New()}
	defer tr.Close()
	q := queue(tr)
	puts := 0
	tr.put = func() error {
		if puts++; puts == 2 {
			return errAway
		}
		return nil
	}
	rep, err := q.Import(t.Context(), strings.NewReader(file))
	assert.Equal(t, dlq.Report{Matched: 2, Done: 1, Failed: 1}, rep)
	assert.ErrorIs(t, err, errAway)
	assert.ErrorContains(t, err, "line 1: not JSON at byte 1\nline 3: the broker is away")

	rep, err = q.Import(t.Context(), iotest.DataErrReader(io.MultiReader(strings.NewReader(file[:len(file)-130]), iotest.ErrReader(io.ErrNoProgress))))
	assert.ErrorIs(t, err, io.ErrNoProgress)
	assert.Equal(t, 1, rep.Skipped)

	ctx, cancel := context.WithCancel(t.Context())
	tr.put = func() error { cancel(); return nil }
	rep, err = q.Import(ctx, strings.NewReader(file))
	assert.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 1, rep.Done, "what was begun was ended")
	count(t, q, 2)
	rep, _ = q.Import(t.Context(), strings.NewReader(file))
	assert.Equal(t, dlq.Report{Matched: 4, Done: 1, Skipped: 2, Failed: 1}, rep)
}

func TestAnExportThatCannotGoOn(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	bury(t, tr, named(100)...)
	q := queue(tr)
	n, err := q.Export(t.Context(), &fullDisk{room: 10}, dlq.Filter{})
	assert.ErrorIs(t, err, errFull)
	assert.Equal(t, 10, n)
	assert.EqualValues(t, 10, acts(t, q)[1].Count)
	ctx, cancel := context.WithCancel(t.Context())
	n, err = q.Export(ctx, writer(func(p []byte) (int, error) { cancel(); return len(p), nil }), dlq.Filter{})
	assert.ErrorIs(t, err, context.Canceled)
	assert.Less(t, n, 100)
	count(t, q, 100)
}

// TestALetterThatImportWouldNotRead: who exports and then discards must know before.
func TestALetterThatImportWouldNotRead(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	put(t, tr, &dlq.Letter{Message: &transport.Message{ID: "large", Body: bytes.Repeat([]byte{0xff}, 49<<20)}, Died: died},
		&dlq.Letter{Message: &transport.Message{ID: "small"}, Died: died})
	n, err := queue(tr).Export(t.Context(), io.Discard, dlq.Filter{})
	assert.Equal(t, 2, n)
	assert.ErrorContains(t, err, "letter 1: its line has 685")
	assert.ErrorContains(t, err, "and Import reads 67108864: do not discard it")
	assert.NotContains(t, err.Error(), "letter 2")
}

var errFull = errors.New("the disk is full")

// fullDisk has room for some lines.
type fullDisk struct{ room int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room--; d.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// FuzzImport: whatever a file holds, each line is a letter, one that is there, or bad; what was read can be written and read
// again; and a second import changes nothing.
func FuzzImport(f *testing.F) {
	tr := memory.New()
	put(f, tr, awkward()...)
	f.Add([]byte(export(f, tr)))
	tr.Close()
	for _, s := range []string{"", "\n", "{}", fmt.Sprintf(good, 1, 1), `{"v":1,"body":"\ud800"}`, `{"v":1e0}`, "null", `{"V":1,"v":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		first, second := memory.New(), memory.New()
		defer first.Close()
		defer second.Close()
		rep, err := queue(first).Import(t.Context(), bytes.NewReader(file))
		if rep.Matched != rep.Done+rep.Skipped+rep.Failed || (err == nil) != (rep.Failed == 0) {
			t.Fatalf("%+v, %v", rep, err)
		}
		again, _ := queue(first).Import(t.Context(), bytes.NewReader(file))
		if again.Done != 0 || again.Failed != rep.Failed {
			t.Fatalf("%+v, then %+v", rep, again)
		}
		_, err = queue(second).Import(t.Context(), strings.NewReader(export(t, first)))
		require.NoError(t, err)
		require.Equal(t, content(t, first), content(t, second))
	})
}

func BenchmarkExport(b *testing.B) {
	tr := memory.New()
	defer tr.Close()
	put(b, tr, slices.Repeat(awkward()[:1], 1000)...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := queue(tr).Export(b.Context(), io.Discard, dlq.Filter{}); err != nil {
			b.Fatal(err)
		}
	}
}
