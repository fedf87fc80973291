package redisstream

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

func packed(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(strconv.Itoa(len(p)) + ":" + p)
	}
	return b.String()
}

// FuzzPackedFields: what scripts/lib.lua packs comes back; whatever else there is ends with what could be read, and makes no more
// of it than there is.
func FuzzPackedFields(f *testing.F) {
	f.Add(packed("id", "1", "data", "{}"), "data", "x")
	f.Add("99999999999999999999:x", "", "")
	f.Add("-1:x", "a", "b")
	f.Add("9223372036854775807:x", "a", "b")
	f.Add(strings.Repeat("0:", 999), "a", "b")
	f.Fuzz(func(t *testing.T, text, name, value string) {
		fs := fields{{name, value}, {fieldFields, text}}.from(fromRetry)
		size := 0
		for i, x := range fs {
			size += len(x.name) + len(x.value)
			require.Negative(t, fs[i+1:].index(x.name), "a name occurs once")
		}
		require.LessOrEqual(t, size, len(text)+len(name)+len(value))
		got := fields{{fieldFields, packed(name, value, "other", text)}}.from(fromRetry)
		require.Equal(t, fields{{name, value}, {"other", text}}.distinct(), got)
		forged := fields{{name, value}, {fieldFields, text}}.from(fromTopic)
		require.Len(t, forged, 2, "anybody may write to the topic's stream")
	})
}

// FuzzKept: what is kept comes back, whatever it holds.
func FuzzKept(f *testing.F) {
	f.Add("", "", strings.Repeat("x", 128), "\x80\x80")
	f.Add("a", strings.Repeat("x", 1<<14), "", "")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		fs := fields{{a, b}, {c, d}}
		var text strings.Builder
		keep(&text, fs)
		require.Equal(t, keptSize(fs), text.Len())
		require.Equal(t, fs, kept(text.String()).appendTo(nil))
	})
}

// FuzzBookkeeping: it is believed on the retry stream, with counts that are none for what is no count, and never on the topic's.
func FuzzBookkeeping(f *testing.F) {
	f.Add("1-1", "3", "2", "1", "0-9")
	f.Add("1-1", "-1", "18446744073709551616", "x", "")
	f.Add("", "+1", " 1", "1e3", "\x00")
	f.Fuzz(func(t *testing.T, id, attempt, redelivered, replays, origin string) {
		fs := fields{{fieldAttempt, attempt}, {fieldRedelivered, redelivered}, {fieldReplays, replays}, {fieldOrigin, origin}}
		require.Equal(t, bookkeeping{attempt: 1, origin: id}, (&entry{src: fromTopic, id: id, fields: fs}).bookkeeping())
		b := (&entry{src: fromRetry, id: id, fields: fs}).bookkeeping()
		require.GreaterOrEqual(t, min(b.attempt, b.redelivered, b.replays), 0)
		if n, err := strconv.Atoi(attempt); err == nil && n >= 0 {
			require.Equal(t, n, b.attempt)
		}
		if origin != "" {
			require.Equal(t, origin, b.origin)
		}
	})
}

// FuzzLetter: every entry of a stream of dead letters is a letter that can be shown, and one that was put comes back.
func FuzzLetter(f *testing.F) {
	f.Add("5-1", "id", "body", "h.x", "y", "permanent", "why", "-1")
	f.Add("", "", "", "typedbus.fields", "2:id1:x4:data1:y", "", "\xff", "99999999999999999999")
	f.Add("18446744073709551615-0", "\x00", "\xff", "typedbus.id", "z", "x", strings.Repeat("é", 600), "9223372036854775807")
	f.Fuzz(func(t *testing.T, id, msgID, body, name, value, reason, text, died string) {
		values := map[string]any{fieldID: msgID, fieldData: body, fieldReason: reason, fieldError: text, fieldDied: died, fieldAttempt: died, name: value}
		for _, mp := range []*Mapping{&native, &foreign, {Data: "data"}} {
			l := letter(mp, "orders", redis.XMessage{ID: id, Values: values})
			require.NotNil(t, l.Message)
			require.GreaterOrEqual(t, l.Attempt, 0)
			again := put(t, mp, l)
			require.Equal(t, string(l.Body), string(again.Body))
			require.Equal(t, l.Body == nil, again.Body == nil, "malformed letters stay so")
			require.Equal(t, []any{l.ID, l.Key, l.ContentType, l.Headers, l.Reason, l.Attempt}, []any{again.ID, again.Key, again.ContentType, again.Headers, again.Reason, again.Attempt})
		}
	})
}

// put is l after it was put.
func put(t *testing.T, mp *Mapping, l *transport.Letter) *transport.Letter {
	args, err := new(Transport).putArgs(mp, l, "")
	require.NoError(t, err)
	values := map[string]any{}
	for i := 2; i+1 < len(args); i += 2 {
		values[word(args[i])] = word(args[i+1])
	}
	return letter(mp, "orders", redis.XMessage{ID: l.LetterID, Values: values})
}

func word(v any) string {
	switch v := v.(type) {
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return str(v)
}

// FuzzAct: every entry of the record can be shown, with -1 for what is no count.
func FuzzAct(f *testing.F) {
	f.Add("1-1", "me", "replay", "all", "3")
	f.Add("", "", "", "", "1e9")
	f.Fuzz(func(t *testing.T, id, who, what, detail, count string) {
		a := act(redis.XMessage{ID: id, Values: map[string]any{fieldWho: who, fieldWhat: what, fieldDetail: detail, fieldCount: count}})
		if n, err := strconv.ParseInt(count, 10, 64); err == nil {
			require.EqualValues(t, n, a.Count)
		} else {
			require.EqualValues(t, -1, a.Count)
		}
		require.Equal(t, []string{id, who, what, detail}, []string{a.ActID, a.Who, a.What, a.Detail})
	})
}

// FuzzReceipt: a receipt is of the entry that it was made for, and what is none is of no entry that could be.
func FuzzReceipt(f *testing.F) {
	f.Add("m1526919030474-55.0.zz")
	f.Add("")
	f.Add(".")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, receipt string) {
		src, id := receiptEntry(receipt)
		require.False(t, strings.Contains(id, "."))
		if key := receiptKey(receipt); src == fromTopic && id != "" || src == fromRetry {
			require.Equal(t, key, entryKey(src, id))
			require.Equal(t, key, receiptKey(key+".1.2"))
		}
	})
}

// FuzzCommand: what is written is what a server reads, whatever the words hold.
func FuzzCommand(f *testing.F) {
	f.Add("XREADGROUP", "\r\n$5\r\n", "")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		written := appendCommand(nil, a, b, c)
		over, err := (&answerEnd{open: 1}).in(written)
		require.NoError(t, err)
		require.True(t, over)
		r := respReader{rest: string(written)}
		require.Equal(t, 3, r.list())
		require.Equal(t, []string{a, b, c}, []string{r.text(), r.text(), r.text()})
	})
}

// FuzzCut: an error's text is bounded, text, and the beginning of what it was.
func FuzzCut(f *testing.F) {
	f.Add("é\xff", 1)
	f.Add(strings.Repeat("日", 400), 1024)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 {
			return
		}
		got := cut(s, n)
		require.LessOrEqual(t, len(got), n)
		require.True(t, utf8.ValidString(got))
		require.True(t, strings.HasPrefix(strings.ToValidUTF8(s, "\uFFFD"), got))
	})
}

// FuzzServerWords: what a server says of itself is read without a panic, whoever wrote the server.
func FuzzServerWords(f *testing.F) {
	f.Add("redis_version:8.0.0\r\nrole:master\r\n", "1526919030", "55")
	f.Add(":\n:", "", "-1")
	f.Fuzz(func(t *testing.T, info, a, b string) {
		require.NotContains(t, infoField(info, "role"), "\n")
		_, ok := serverTime([]any{a, b})
		_, err1 := strconv.ParseInt(a, 10, 64)
		_, err2 := strconv.ParseInt(b, 10, 64)
		require.Equal(t, err1 == nil && err2 == nil, ok)
		require.Equal(t, b, pairs([]any{a, b, "odd"})[a])
	})
}
