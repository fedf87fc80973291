package redisstream

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// put stores a letter of orders for group g.
func (b *bench) put(l *transport.Letter, replaces string) (id string) {
	b.Helper()
	id, err := b.tr.PutLetter(bounded(b), orders, "g", l, replaces)
	require.NoError(b, err)
	return id
}

func (b *bench) letters() []*transport.Letter {
	b.Helper()
	ls, err := b.tr.Letters(bounded(b), orders, "g", "", 1000)
	require.NoError(b, err)
	return ls
}

// indexed are the letters in the set of those that were put.
func (b *bench) indexed() []string {
	return b.client.ZRange(b.Context(), "{orders}:g:dead:put", 0, -1).Val()
}

func dyingLetter(body string, died time.Time) *transport.Letter {
	return &transport.Letter{Message: text2msg(body)[0], Attempt: 1, Died: died}
}

// What docs/wire-format.md says of letters that were put.
func TestFieldsOfALetterThatWasPut(t *testing.T) {
	b := newBench(t)
	stored := time.UnixMilli(1_700_000_000_123)
	l := &transport.Letter{
		Message: &transport.Message{ID: "id-1", Key: "k", ContentType: "text/plain", Headers: transport.Headers{{Name: "a", Value: "b"}}, Body: []byte("x"), Time: stored},
		Reason:  "exhausted", Error: strings.Repeat("e", 2000), Attempt: 5, Redelivered: 2, Replays: 3, Consumer: "host", Died: stored.Add(time.Minute),
	}
	id := b.put(l, "")
	es, err := b.client.XRange(t.Context(), "{orders}:g:dead", "-", "+").Result()
	require.NoError(t, err)
	require.Equal(t, []redis.XMessage{{ID: id, Values: map[string]any{
		"id": "id-1", "key": "k", "ct": "text/plain", "h.a": "b", "data": "x",
		"typedbus.attempt": "5", "typedbus.redelivered": "2", "typedbus.replays": "3", "typedbus.origin": "1700000000123-0",
		"typedbus.reason": "exhausted", "typedbus.error": strings.Repeat("e", 1024), "typedbus.consumer": "host", "typedbus.died": "1700000060123",
	}}}, es)
	require.Equal(t, []redis.Z{{Score: 1_700_000_060_123, Member: id}}, b.client.ZRangeWithScores(t.Context(), "{orders}:g:dead:put", 0, -1).Val())
}

// An edited letter keeps all that its message had, also what the topic's format has no fields for, whatever becomes of it.
func TestPutLetterOfAForeignFormat(t *testing.T) {
	leakFree(t)
	s := redistest.Start(t)
	c := s.Client()
	tr := New(c, Options{Mappings: map[string]Mapping{"orders": {Data: "payload", DefaultContentType: "application/json", Set: map[string]string{"kind": "order"}}}})
	defer tr.Close()
	ctx := bounded(t)
	require.NoError(t, c.XAdd(ctx, &redis.XAddArgs{Stream: "orders", ID: "1700000000000-55", Values: []string{"payload", "old", "from", "php"}}).Err())
	x, err := tr.Subscribe(ctx, orders, transport.Group{Name: "g"})
	require.NoError(t, err)
	sub := x.(*subscription)
	d := receive(t, sub, 1)[0]
	settle(t, sub, transport.Dead, 0, d)
	ls, err := tr.Letters(ctx, orders, "g", "", 1)
	require.NoError(t, err)
	edited := ls[0]
	require.Equal(t, d.ID, edited.ID)
	edited.Body, edited.Key, edited.ContentType = []byte("new"), "customer", "text/plain"
	id, err := tr.PutLetter(ctx, orders, "g", edited, edited.LetterID)
	require.NoError(t, err)

	same := func(m *transport.Message) {
		t.Helper()
		require.Equal(t, edited.Message, m, "the constant field of published messages is not added")
	}
	l, err := tr.Letter(ctx, orders, "g", id)
	require.NoError(t, err)
	same(l.Message)
	_, err = tr.Replay(ctx, orders, "g", id)
	require.NoError(t, err)
	for _, after := range []time.Duration{0, time.Millisecond} {
		d = receive(t, sub, 1)[0]
		same(d.Message)
		require.Equal(t, 1, d.Replays)
		settle(t, sub, transport.Failed, after, d)
	}
	d = receive(t, sub, 1)[0]
	same(d.Message)
	settle(t, sub, transport.Dead, 0, d)
	ls, err = tr.Letters(ctx, orders, "g", "", 10)
	require.NoError(t, err)
	require.Len(t, ls, 1)
	same(ls[0].Message)
	require.Equal(t, []int{3, 1}, []int{ls[0].Attempt, ls[0].Replays})

	_, err = tr.PutLetter(ctx, orders, "g", &transport.Letter{Message: &transport.Message{Headers: transport.Headers{{Name: "payload", Value: "x"}}}}, "")
	require.ErrorContains(t, err, `redisstream: put dead letter of orders for g: header "payload" cannot be stored`)
}

// Producers cannot forge what a letter keeps beside the fields of its message.
func TestPutFieldsMeanNothingOnTheTopic(t *testing.T) {
	b := newBench(t)
	s := b.subscribe(b.tr, transport.Group{Name: "g"})
	require.NoError(t, b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: "orders", Values: []string{
		"id", "1", "data", "x", "typedbus.id", "forged", "typedbus.key", "forged", "typedbus.ct", "forged", "typedbus.replays", "9", "typedbus.died", "1",
	}}).Err())
	for _, v := range []transport.Verdict{transport.Failed, transport.Deferred, transport.Dead} {
		d := receive(t, s, 1)[0]
		require.Equal(t, []any{"1", "", "", 0}, []any{d.ID, d.Key, d.ContentType, d.Replays})
		settle(t, s, v, 0, d)
	}
	l := b.letters()[0]
	require.Equal(t, []any{"1", "", "", 0}, []any{l.ID, l.Key, l.ContentType, l.Replays})
	require.Less(t, time.Since(l.Died).Abs(), time.Minute)
}

func TestMalformedLettersStaySo(t *testing.T) {
	b := newBench(t)
	s := b.subscribe(b.tr, transport.Group{Name: "g"})
	require.NoError(t, b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: "orders", Values: []string{"some", "thing", "h.a", "b"}}).Err())
	d := receive(t, s, 1)[0]
	require.Error(t, d.Malformed)
	settle(t, s, transport.Dead, 0, d)
	l := b.letters()[0]
	id := b.put(l, l.LetterID)
	_, err := b.tr.Replay(bounded(t), orders, "g", id)
	require.NoError(t, err)
	again := receive(t, s, 1)[0]
	require.Error(t, again.Malformed)
	require.Equal(t, d.Message, again.Message)
	settle(t, s, transport.Dead, 0, again)

	l = b.letters()[0]
	l.Body = []byte{}
	_, err = b.tr.Replay(bounded(t), orders, "g", b.put(l, l.LetterID))
	require.NoError(t, err)
	again = receive(t, s, 1)[0]
	require.NoError(t, again.Malformed, "an empty body is one")
	require.Equal(t, d.ID, again.ID)
}

func TestPutLetterOfManyFields(t *testing.T) {
	b := newBench(t)
	s := b.subscribe(b.tr, transport.Group{Name: "g"})
	l := dyingLetter("x", time.Now())
	for i := range 10_000 {
		l.Headers = append(l.Headers, transport.Header{Name: fmt.Sprintf("name-%04d", i), Value: fmt.Sprintf("value:%d", i)})
	}
	id := b.put(l, b.put(l, ""))
	got, err := b.tr.Letter(bounded(t), orders, "g", id)
	require.NoError(t, err)
	require.Equal(t, l.Headers, got.Headers)
	_, err = b.tr.Replay(bounded(t), orders, "g", id)
	require.NoError(t, err)
	require.Equal(t, l.Headers, receive(t, s, 1)[0].Headers)

	l.Headers[9999].Name = "name-0042"
	_, err = b.tr.PutLetter(bounded(t), orders, "g", l, "")
	require.ErrorContains(t, err, `header "name-0042" occurs twice`)
}

func TestPutLetterFillsInWhatIsMissing(t *testing.T) {
	b := newBench(t)
	b.put(&transport.Letter{Message: &transport.Message{Body: []byte("x")}}, "")
	l := b.letters()[0]
	require.NotEmpty(t, l.ID)
	require.NotContains(t, l.ID, "/", "one of its own: its place is not that of one message")
	require.Less(t, time.Since(l.Time).Abs(), time.Minute)
	require.Equal(t, entryTime(l.LetterID), l.Died)
	require.Empty(t, b.indexed())

	b.put(&transport.Letter{Message: &transport.Message{Body: []byte("x"), Time: time.UnixMilli(-5)}, Died: time.UnixMilli(-7)}, l.LetterID)
	l = b.letters()[0]
	require.Equal(t, []int64{0, 0}, []int64{l.Time.UnixMilli(), l.Died.UnixMilli()})
	for _, l := range []*transport.Letter{nil, {}} {
		_, err := b.tr.PutLetter(bounded(t), orders, "g", l, "")
		require.EqualError(t, err, "redisstream: put dead letter of orders for g: the letter has no message")
	}
}

// Whatever takes a letter away takes it out of the set of those that were put.
func TestPutLettersLeaveNothingBehind(t *testing.T) {
	b := newBench(t)
	s := b.subscribe(b.tr, transport.Group{Name: "g", Letters: transport.LetterBound{MaxLen: 1}})
	old := time.Now().Add(-time.Hour)
	replaced := b.put(dyingLetter("replaced", old), "")
	ids := []string{b.put(dyingLetter("replayed", old), replaced), b.put(dyingLetter("discarded", old), ""), b.put(dyingLetter("dropped", old), ""), b.put(dyingLetter("kept", old), "")}
	require.ElementsMatch(t, ids, b.indexed())
	n, err := b.tr.Replay(bounded(t), orders, "g", ids[0])
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = b.tr.Discard(bounded(t), orders, "g", ids[1])
	require.NoError(t, err)
	require.Equal(t, 1, n)
	b.tr.survey(t.Context(), []*subscription{s})
	require.Equal(t, ids[3:], b.indexed())
}

func TestPutLetterAsksOnce(t *testing.T) {
	b := newBench(t)
	p := redistest.NewProxy(t, b.server.Addr)
	tr := producing(t, p.Addr, 0)
	id := b.put(dyingLetter("old", time.Now()), "")
	_, err := tr.Letter(bounded(t), orders, "g", id)
	require.NoError(t, err)
	require.NoError(t, tr.RecordAct(bounded(t), orders, "g", transport.Act{What: "edit", Count: -1})) // the server knows the script
	p.Lose(func(req []byte) bool { return bytes.Contains(req, []byte("evalsha")) })
	_, err = tr.PutLetter(bounded(t), orders, "g", dyingLetter("new", time.Now()), id)
	require.ErrorContains(t, err, "redisstream: put dead letter of orders for g: ")
	require.NotErrorIs(t, err, transport.ErrNoLetter)
	require.Error(t, tr.RecordAct(bounded(t), orders, "g", transport.Act{What: "edit"}))
	p.Lose(nil)
	require.Len(t, b.letters(), 1)
	require.Equal(t, "new", string(b.letters()[0].Body))
	require.EqualValues(t, 2, b.client.XLen(t.Context(), "{orders}:g:acts").Val())
}

func TestKeysOfTheArchiveThatHoldSomethingElse(t *testing.T) {
	b := newBench(t)
	s := b.subscribe(b.tr, transport.Group{Name: "g", Letters: transport.LetterBound{MaxAge: time.Minute}})
	id := b.put(dyingLetter("x", time.Now()), "")
	for _, key := range []string{"{orders}:g:dead:put", "{orders}:g:acts", "{orders}:g:dead"} {
		b.client.Del(t.Context(), key)
		require.NoError(t, b.client.HSet(t.Context(), key, "f", "v").Err())
		_, putErr := b.tr.PutLetter(bounded(t), orders, "g", dyingLetter("y", time.Now()), "")
		err := putErr
		if strings.HasSuffix(key, "acts") {
			require.NoError(t, putErr)
			_, err = b.tr.Acts(bounded(t), orders, "g", "", 1)
		} else {
			_, replayErr := b.tr.Replay(bounded(t), orders, "g", id)
			require.Error(t, replayErr)
			_, discardErr := b.tr.Discard(bounded(t), orders, "g", id)
			require.Error(t, discardErr)
		}
		require.ErrorContains(t, err, "the key "+key+" holds a hash")
		b.tr.survey(t.Context(), []*subscription{s})
		assert.False(t, s.others.Load(), "the survey has an answer")
		b.client.Del(t.Context(), key)
	}
	require.NoError(t, b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: "{orders}:g:dead", ID: "1-1", Values: []string{"data", "x"}}).Err())
	require.NoError(t, b.client.HSet(t.Context(), "{orders}:g:dead:dropped", "f", "v").Err())
	b.tr.survey(t.Context(), []*subscription{s})
	require.Len(t, b.letters(), 1, "what cannot be counted is not removed")
	_, err := b.tr.Lag(bounded(t), orders, "g")
	require.ErrorContains(t, err, "the key {orders}:g:dead:dropped holds a hash and not a string: rename that key")
}

func TestActsAreCapped(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.tr.RecordAct(bounded(t), orders, "g", transport.Act{Who: "alice", What: "edit", Detail: "one \x00", Count: -1, ActID: "ignored"}))
	acts, err := b.tr.Acts(bounded(t), orders, "g", "", 10)
	require.NoError(t, err)
	require.Len(t, acts, 1)
	require.Equal(t, transport.Act{ActID: acts[0].ActID, Time: entryTime(acts[0].ActID), Who: "alice", What: "edit", Detail: "one \x00", Count: -1}, acts[0])

	pipe := b.client.Pipeline()
	for range 10_200 {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "{orders}:g:acts", Values: []string{"what", "replay"}})
	}
	_, err = pipe.Exec(t.Context())
	require.NoError(t, err)
	require.NoError(t, b.tr.RecordAct(bounded(t), orders, "g", transport.Act{What: "discard", Count: 3}))
	n := b.client.XLen(t.Context(), "{orders}:g:acts").Val()
	require.GreaterOrEqual(t, n, int64(10_000))
	require.Less(t, n, int64(10_201))
	_, err = b.tr.Acts(bounded(t), orders, "g", "nonsense", 1)
	require.EqualError(t, err, `redisstream: bad act id "nonsense": use the ActID of an act`)
}

// Discarding letters makes room, and is done only where it can be recorded.
func TestActsOnAFullRedis(t *testing.T) {
	b := newBench(t)
	id := b.put(dyingLetter("x", time.Time{}), "")
	require.NoError(t, b.client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	defer b.client.ConfigSet(context.WithoutCancel(t.Context()), "maxmemory", "0")
	_, err := b.tr.PutLetter(bounded(t), orders, "g", dyingLetter("x", time.Time{}), "")
	require.ErrorIs(t, err, transport.ErrNoRoom)
	require.NoError(t, b.tr.RecordAct(bounded(t), orders, "g", transport.Act{Who: "ada", What: "discard", Count: -1}))
	n, err := b.tr.Discard(bounded(t), orders, "g", id)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	acts, err := b.tr.Acts(bounded(t), orders, "g", "", 10)
	require.NoError(t, err)
	require.Len(t, acts, 1)
	require.Equal(t, "ada", acts[0].Who)
}

// Who looks at dead letters is told rules that Redis takes, and with which it works.
func TestRightsForDeadLetters(t *testing.T) {
	b := newBench(t)
	b.put(dyingLetter("x", time.Time{}), "")
	user := func(rules ...any) {
		require.NoError(t, b.client.Do(t.Context(), append([]any{"acl", "setuser", "ada", "on", ">secret", "+@all"}, rules...)...).Err())
	}
	user("~none")
	c := redis.NewClient(&redis.Options{Addr: b.server.Addr, Username: "ada", Password: "secret"})
	defer c.Close()
	tr := New(c, Options{})
	defer tr.Close()
	_, err := tr.CountLetters(bounded(t), orders, "g")
	require.ErrorContains(t, err, "ACL SETUSER <user> ~orders ~{orders}:*")
	err = tr.RecordAct(bounded(t), orders, "g", transport.Act{What: "edit"})
	require.ErrorContains(t, err, "ACL SETUSER <user> ~orders ~{orders}:*")
	user("~orders", "~{orders}:*")
	_, err = tr.CountLetters(bounded(t), orders, "g")
	require.NoError(t, err)
}
