package redisstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

const (
	stored    = transport.Stored
	notStored = transport.NotStored
	unknown   = transport.Unknown
)

func TestPublishWritesTheFieldsOfTheFormat(t *testing.T) {
	s := redistest.Start(t)
	tr := New(s.Client(), Options{Prefix: "shop:"})
	defer tr.Close()
	m := &transport.Message{ID: "1", Key: "k", ContentType: "text/plain", Body: []byte("b\x00\xff"), Headers: transport.Headers{{Name: "a", Value: "1"}, {Name: "B-c", Value: ""}}}
	require.NoError(t, tr.Publish(bounded(t), orders1, []*transport.Message{m, {Body: nil}}))
	es := s.Client().XRange(t.Context(), "shop:orders.placed", "-", "+").Val()
	require.Len(t, es, 2)
	require.Equal(t, map[string]any{"id": "1", "ct": "text/plain", "key": "k", "data": "b\x00\xff", "h.a": "1", "h.B-c": ""}, es[0].Values)
	require.Equal(t, map[string]any{"id": "", "data": ""}, es[1].Values)
	require.NoError(t, tr.Publish(bounded(t), orders1, nil))
}

func TestPublishKeepsTheOrderOfACall(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 0)
	// 2,500 messages take three pipelines; 40 of 100 KiB take four.
	var want []string
	for i := range 2500 {
		want = append(want, strconv.Itoa(i))
	}
	large := string(bytes.Repeat([]byte("x"), 100<<10))
	for i := range 40 {
		want = append(want, large+strconv.Itoa(i))
	}
	require.NoError(t, tr.Publish(bounded(t), orders1, text2msg(want...)))
	require.Equal(t, want, bodies(t, s.Client(), "orders.placed"))
}

func TestManyPublishersShareRoundTrips(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr)
	tr := producing(t, p.Addr, 0)
	warm(t, tr, s)
	p.Delay(5 * time.Millisecond)
	const callers, each = 50, 20
	start := time.Now()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				require.NoError(t, tr.Publish(bounded(t), orders1, text2msg(fmt.Sprintf("%d/%d", c, i))))
			}
		})
	}
	wg.Wait()
	all := bodies(t, s.Client(), "orders.placed")
	require.Len(t, all, callers*each)
	for c := range callers { // each caller's are in order, and once
		at := -1
		for i := range each {
			j := slices.Index(all, fmt.Sprintf("%d/%d", c, i))
			require.Greater(t, j, at)
			at = j
		}
	}
	require.Less(t, time.Since(start), callers*each*5*time.Millisecond/5, "one by one they would take 5 s")
}

func TestPublishDoesNotKeepItsArguments(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 2*time.Second)
	warm(t, tr, s)
	s.Pause()
	ctx, cancel := context.WithCancel(bounded(t))
	ms := []*transport.Message{{ID: "1", Body: []byte("before"), Headers: transport.Headers{{Name: "h", Value: "before"}}}}
	done := make(chan error)
	go func() { done <- tr.Publish(ctx, orders1, ms) }()
	second := make(chan error)
	go func() { second <- tr.Publish(ctx, orders1, ms) }()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.ErrorIs(t, <-second, context.Canceled)
	copy(ms[0].Body, "after!")
	ms[0].Headers[0].Value = "after!"
	s.Resume()
	require.NoError(t, tr.Publish(bounded(t), orders1, text2msg("last")))
	for _, b := range bodies(t, s.Client(), "orders.placed") {
		require.Contains(t, []string{"before", "last"}, b)
	}
}

// A stalled server is the worst case of at-most-once sending: go-redis re-sends, and every copy is stored later.
func TestStalledServerStoresOnceAndTheOutcomeIsUnknown(t *testing.T) {
	for _, n := range []int{1, 10} {
		s := redistest.Start(t)
		tr := producing(t, s.Addr, 200*time.Millisecond)
		warm(t, tr, s)
		s.Pause()
		resume := time.AfterFunc(900*time.Millisecond, s.Resume)
		defer resume.Stop()
		err := tr.Publish(bounded(t), orders1, text2msg(make([]string, n)...))
		require.ErrorIs(t, err, transport.ErrPublishUnknown)
		require.ErrorContains(t, err, "Redis did not answer in time")
		require.Equal(t, slices.Repeat([]transport.Outcome{unknown}, n), outcomesOf(t, err))
		require.NoError(t, redistest.Eventually(5*time.Second, func(ctx context.Context) error { return s.Client().Ping(ctx).Err() }))
		require.EqualValues(t, n, s.Client().XLen(t.Context(), "orders.placed").Val())
	}
}

func TestStalledServerStoresSharedPipelinesOnce(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 200*time.Millisecond)
	const callers = 20
	var wg sync.WaitGroup
	for range callers { // makes the connections of shared pipelines as well
		wg.Go(func() { warm(t, tr, s) })
	}
	wg.Wait()
	s.Pause()
	resume := time.AfterFunc(900*time.Millisecond, s.Resume)
	defer resume.Stop()
	errs := make([]error, callers)
	for i := range callers {
		wg.Go(func() { errs[i] = tr.Publish(bounded(t), orders1, text2msg(strconv.Itoa(i))) })
	}
	wg.Wait()
	require.NoError(t, redistest.Eventually(5*time.Second, func(ctx context.Context) error { return s.Client().Ping(ctx).Err() }))
	checkOutcomes(t, errs, bodies(t, s.Client(), "orders.placed"))
}

// checkOutcomes looks whether each caller, whose message was its number, was told the truth.
func checkOutcomes(t *testing.T, errs []error, all []string) {
	t.Helper()
	for i, err := range errs {
		n := 0
		for _, b := range all {
			if b == strconv.Itoa(i) {
				n++
			}
		}
		o := stored
		if err != nil {
			o = outcomesOf(t, err)[0]
		}
		switch o {
		case stored:
			require.Equal(t, 1, n, "message %d is called stored", i)
		case notStored:
			require.Equal(t, 0, n, "message %d is called not stored: %v", i, err)
		case unknown:
			require.LessOrEqual(t, n, 1, "message %d is called unknown", i)
		}
	}
}

func TestLostAnswers(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr)
	tr := producing(t, p.Addr, time.Second)
	warm(t, tr, s)
	k := 0
	p.Lose(func(b []byte) bool {
		if bytes.Contains(b, []byte("orders.placed")) {
			k++
			return k%3 == 0
		}
		return false
	})
	const callers = 60
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { errs[i] = tr.Publish(bounded(t), orders1, text2msg(strconv.Itoa(i))) })
		if i%5 == 0 {
			wg.Wait()
		}
	}
	wg.Wait()
	p.Lose(nil)
	require.NotZero(t, p.Lost())
	checkOutcomes(t, errs, bodies(t, s.Client(), "orders.placed"))
}

func TestUnreachableServerStoresNothingAndSaysSo(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, time.Second)
	warm(t, tr, s)
	s.Kill()
	err := tr.Publish(bounded(t), orders1, text2msg("a", "b"))
	require.Equal(t, []transport.Outcome{notStored, notStored}, outcomesOf(t, err), "%v", err)
	require.ErrorContains(t, err, "redisstream: publish orders.placed: cannot reach Redis at "+s.Addr+": connection refused")
	s.Restart()
	require.NoError(t, tr.Publish(bounded(t), orders1, text2msg("c")))
	require.Equal(t, []string{"c"}, bodies(t, s.Client(), "orders.placed"))
}

func TestRefusedConnectionStoresNothing(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, time.Second)
	warm(t, tr, s)
	c := s.Client()
	require.NoError(t, c.Ping(t.Context()).Err())
	require.NoError(t, c.ConfigSet(t.Context(), "requirepass", "new").Err())
	c.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes")
	err := tr.Publish(bounded(t), orders1, text2msg("a", "b"))
	require.Equal(t, []transport.Outcome{notStored, notStored}, outcomesOf(t, err), "%v", err)
	require.ErrorContains(t, err, "Redis wants a password")
}

func TestCancelledPublish(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 10*time.Second)
	warm(t, tr, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := tr.Publish(ctx, orders1, text2msg("a"))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []transport.Outcome{notStored}, outcomesOf(t, err), "before it was sent")

	s.Pause()
	errs := make(chan error, 4)
	ctx, cancel = context.WithCancel(t.Context())
	for range cap(errs) { // one alone, some in a pipeline, the rest waiting
		go func() { errs <- tr.Publish(ctx, orders1, text2msg("b")) }()
	}
	start := time.Now()
	time.AfterFunc(200*time.Millisecond, cancel)
	for range cap(errs) {
		err := <-errs
		require.ErrorIs(t, err, context.Canceled)
		require.NotEqual(t, stored, outcomesOf(t, err)[0])
	}
	require.Less(t, time.Since(start), 2*time.Second, "a caller that goes does not wait for the server")
	s.Resume()
	require.NoError(t, tr.Publish(bounded(t), orders1, text2msg("c")))
}

func TestDeadlineOfOneCallerHarmsNoOther(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr)
	tr := producing(t, p.Addr, 10*time.Second)
	warm(t, tr, s)
	p.Delay(100 * time.Millisecond)
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			ctx := bounded(t)
			if i%3 == 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
				defer cancel()
			}
			err := tr.Publish(ctx, orders1, text2msg(strconv.Itoa(i)))
			if i%3 == 0 {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			} else {
				require.NoError(t, err)
			}
		})
	}
	wg.Wait()
}

func TestServerErrorsAreNotStored(t *testing.T) {
	s := redistest.Start(t)
	c, tr := s.Client(), producing(t, s.Addr, 0)
	require.NoError(t, c.HSet(t.Context(), "orders.placed", "secret", "hunter2").Err())
	err := tr.Publish(bounded(t), orders1, text2msg("hunter2", "b"))
	require.Equal(t, []transport.Outcome{notStored, notStored}, outcomesOf(t, err))
	require.EqualError(t, err, "publish orders.placed: 0 stored, 2 not stored, 0 unknown: redisstream: publish orders.placed: "+
		"the key orders.placed holds a hash, not a stream: rename that key, or give the transport another Prefix")
	require.NoError(t, c.Del(t.Context(), "orders.placed").Err())

	require.NoError(t, c.ConfigSet(t.Context(), "maxmemory", "1").Err())
	err = tr.Publish(bounded(t), orders1, text2msg("hunter2"))
	require.ErrorIs(t, err, transport.ErrNoRoom)
	require.Equal(t, []transport.Outcome{notStored}, outcomesOf(t, err))
	err = tr.Publish(bounded(t), orders1, delayedMsg("hunter2", time.Minute))
	require.ErrorIs(t, err, transport.ErrNoRoom)
	require.NotContains(t, err.Error(), "hunter2")
	require.NoError(t, c.ConfigSet(t.Context(), "maxmemory", "0").Err())
	require.NoError(t, tr.Publish(bounded(t), orders1, text2msg("b")))
}

func TestOutcomesOfABrokenCall(t *testing.T) {
	// The third answer is an error, the fifth never comes.
	n := 0
	addr := fakeRedis(t, func(args []string) string {
		if args[0] != "xadd" {
			return old("7.0.0", true)(args)
		}
		switch n++; n {
		case 3:
			return "-OOM command not allowed when used memory > 'maxmemory'.\r\n"
		case 5:
			return ""
		}
		return bulk(strconv.Itoa(n) + "-0")
	})
	tr := producing(t, addr, 300*time.Millisecond)
	ms := text2msg(make([]string, 1100)...)
	for _, m := range ms[5:] {
		m.Body = bytes.Repeat([]byte("x"), 10)
	}
	err := tr.Publish(bounded(t), orders1, ms[:5])
	require.Equal(t, []transport.Outcome{stored, stored, notStored, stored, unknown}, outcomesOf(t, err))
	require.ErrorIs(t, err, transport.ErrNoRoom, "the first cause")
	require.ErrorIs(t, err, transport.ErrPublishUnknown)

	n = 2 // the third message of the first pipeline is refused: the second pipeline is not sent
	err = tr.Publish(bounded(t), orders1, ms)
	o := outcomesOf(t, err)
	require.Equal(t, notStored, o[0])
	require.Equal(t, slices.Repeat([]transport.Outcome{notStored}, 100), o[1000:])
}

func TestCloseEndsPublishes(t *testing.T) {
	leakFree(t)
	s := redistest.Start(t)
	c := redis.NewClient(&redis.Options{Addr: s.Addr, ReadTimeout: time.Second})
	defer c.Close()
	tr := New(c, Options{})
	warm(t, tr, s)
	s.Pause()
	const callers = 30
	errs := make([]error, callers)
	var wg, begun sync.WaitGroup
	begun.Add(callers)
	for i := range callers {
		wg.Go(func() {
			begun.Done()
			errs[i] = tr.Publish(bounded(t), orders1, text2msg(strconv.Itoa(i)))
		})
	}
	begun.Wait()
	require.NoError(t, tr.Close())
	wg.Wait()
	s.Resume()
	checkOutcomes(t, errs, bodies(t, s.Client(), "orders.placed"))
	for _, err := range errs {
		require.Error(t, err)
		if outcomesOf(t, err)[0] == notStored {
			require.ErrorIs(t, err, transport.ErrClosed)
		}
	}
}

func TestBadMessagesAreRefusedAndNothingIsSent(t *testing.T) {
	s := redistest.Start(t)
	tr := New(s.Client(), Options{Mappings: map[string]Mapping{"foreign": {Data: "payload", ID: "event_id"}}})
	defer tr.Close()
	many := make(transport.Headers, maxHeaders+1)
	for i := range many {
		many[i].Name = strconv.Itoa(i)
	}
	for _, c := range []struct {
		topic string
		m     *transport.Message
		want  string
	}{
		{"a b", &transport.Message{}, `bad topic name "a b"`},
		{"x}", &transport.Message{}, "bad topic name"},
		{"x", nil, "message 1: it is nil"},
		{"x", &transport.Message{Headers: transport.Headers{{Name: "a b"}}}, `message 1: bad header name "a b"`},
		{"x", &transport.Message{Headers: transport.Headers{{Name: "a\x00"}}}, "bad header name"},
		{"x", &transport.Message{Headers: transport.Headers{{Name: ""}}}, "bad header name"},
		{"x", &transport.Message{Headers: transport.Headers{{Name: "a"}, {Name: "a"}}}, `header "a" occurs twice`},
		{"x", &transport.Message{Headers: many}, "it has 1025 headers: the limit is 1024"},
		{"foreign", &transport.Message{Headers: transport.Headers{{Name: "payload"}}}, `header "payload" cannot be stored`},
		{"foreign", &transport.Message{Headers: transport.Headers{{Name: "event_id"}}}, "cannot be stored"},
		{"foreign", &transport.Message{Headers: transport.Headers{{Name: "typedbus.x"}}}, "cannot be stored"},
	} {
		err := tr.Publish(bounded(t), transport.Topic{Name: c.topic}, []*transport.Message{{}, c.m})
		require.ErrorContains(t, err, c.want)
		require.Equal(t, []transport.Outcome{notStored, notStored}, outcomesOf(t, err))
	}
	require.Empty(t, s.Client().Keys(t.Context(), "*").Val())
}

func TestHardBounds(t *testing.T) {
	s := redistest.Start(t, "--stream-node-max-entries", "10")
	c, tr := s.Client(), producing(t, s.Addr, 0)
	publish := func(topic string, r transport.Retention) {
		for range 10 {
			require.NoError(t, tr.Publish(bounded(t), transport.Topic{Name: topic, Retention: r}, text2msg(make([]string, 20)...)))
		}
	}
	publish("count", transport.Retention{MaxLen: 50, Hard: true})
	require.LessOrEqual(t, c.XLen(t.Context(), "count").Val(), int64(70))
	publish("soft", transport.Retention{MaxLen: 50})
	require.EqualValues(t, 200, c.XLen(t.Context(), "soft").Val(), "publishing trims nothing")
	for _, r := range []transport.Retention{{MaxAge: time.Hour, Hard: true}, {MaxAge: time.Hour, MaxLen: 100, Hard: true}} {
		for i := range 100 {
			require.NoError(t, c.XAdd(t.Context(), &redis.XAddArgs{Stream: "age", ID: fmt.Sprintf("1-%d", i+1), Values: []string{"data", "old"}}).Err())
		}
		publish("age", r)
		require.NotContains(t, bodies(t, c, "age"), "old")
		n := c.XLen(t.Context(), "age").Val()
		if r.MaxLen > 0 {
			require.LessOrEqual(t, n, int64(120), "two bounds take turns")
		} else {
			require.EqualValues(t, 200, n)
		}
		require.NoError(t, c.Del(t.Context(), "age").Err())
	}
}

func delayedMsg(body string, d time.Duration) []*transport.Message {
	ms := text2msg(body)
	ms[0].NotBefore = time.Now().Add(d)
	return ms
}

func TestDelayedMessagesAreKeptAside(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	tr := New(s.Client(), Options{})
	defer tr.Close()
	var mu sync.Mutex
	var told []time.Time
	tr.onDelayed = func(k keys, due time.Time) {
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, "{orders.placed}:due", k.due)
		told = append(told, due)
	}
	ms := delayedMsg("b", time.Hour)
	ms = append(ms, &transport.Message{ID: "now", Body: []byte("a"), NotBefore: time.Now().Add(-time.Hour)}, delayedMsg("c", 2*time.Hour)[0])
	ms[0].Headers = transport.Headers{{Name: "x", Value: "\x00\xff"}}
	before := time.Now()
	require.NoError(t, tr.Publish(bounded(t), orders1, ms))
	require.NoError(t, tr.Publish(bounded(t), orders1, ms[:1]), "the same message twice")

	require.Equal(t, []string{"a"}, bodies(t, c, "orders.placed"), "its time had come")
	zs := c.ZRangeWithScores(t.Context(), "{orders.placed}:due", 0, -1).Val()
	require.Len(t, zs, 3)
	require.EqualValues(t, 3, c.HLen(t.Context(), "{orders.placed}:due:body").Val())
	due := time.UnixMilli(int64(zs[0].Score))
	require.False(t, due.Before(ms[0].NotBefore), "never early")
	require.WithinDuration(t, before.Add(time.Hour), due, 2*time.Second)
	require.Len(t, told, 3)
	require.Contains(t, told, due)

	const unpack = `return cmsgpack.unpack(redis.call('HGET', KEYS[1], ARGV[1]))`
	fields, err := c.Eval(t.Context(), unpack, []string{"{orders.placed}:due:body"}, zs[0].Member).StringSlice()
	require.NoError(t, err)
	require.Equal(t, []string{"id", ms[0].ID, "data", "b", "h.x", "\x00\xff"}, fields)
}

func TestDelayedMessagesSurviveForgottenScripts(t *testing.T) {
	s := redistest.Start(t)
	c, tr := s.Client(), producing(t, s.Addr, 0)
	tr.onDelayed = nil
	const callers, each = 8, 25
	stop := make(chan struct{})
	var flusher, wg sync.WaitGroup
	flusher.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				c.ScriptFlush(t.Context())
			}
		}
	})
	for range callers {
		wg.Go(func() {
			for i := range each {
				require.NoError(t, tr.Publish(bounded(t), orders1, append(delayedMsg(strconv.Itoa(i), time.Hour), text2msg("now")...)))
			}
		})
	}
	wg.Wait()
	close(stop)
	flusher.Wait()
	require.EqualValues(t, callers*each, c.ZCard(t.Context(), "{orders.placed}:due").Val())
	require.EqualValues(t, callers*each, c.HLen(t.Context(), "{orders.placed}:due:body").Val())
	require.EqualValues(t, callers*each, c.XLen(t.Context(), "orders.placed").Val())
}

func TestDelayedMessagesInAKeyOfAnotherType(t *testing.T) {
	s := redistest.Start(t)
	c, tr := s.Client(), producing(t, s.Addr, 0)
	require.NoError(t, c.Set(t.Context(), "{orders.placed}:due", "x", 0).Err())
	err := tr.Publish(bounded(t), orders1, delayedMsg("x", time.Hour))
	require.Equal(t, []transport.Outcome{notStored}, outcomesOf(t, err))
	require.ErrorContains(t, err, "a key that belongs to orders.placed has another type than it should")
	require.Zero(t, c.HLen(t.Context(), "{orders.placed}:due:body").Val(), "all or nothing")
}

func TestPublishOnACluster(t *testing.T) {
	leakFree(t)
	cl := redistest.StartCluster(t, 3, 0)
	c := cl.Client()
	tr := New(c, Options{})
	defer tr.Close()
	tr.onDelayed = nil
	const topics, each = 12, 30
	var wg sync.WaitGroup
	for i := range topics {
		topic := transport.Topic{Name: "topic" + strconv.Itoa(i)}
		wg.Go(func() {
			for j := range each {
				require.NoError(t, tr.Publish(bounded(t), topic, append(text2msg(strconv.Itoa(j)), delayedMsg("later", time.Hour)...)))
			}
		})
	}
	wg.Wait()
	for i := range topics {
		name := "topic" + strconv.Itoa(i)
		require.Len(t, bodies(t, c, name), each)
		require.EqualValues(t, each, c.ZCard(t.Context(), "{"+name+"}:due").Val())
	}
	require.Len(t, tr.committer.lanes, 3)
	rc, err := tr.reads.conn(bounded(t), "topic1")
	require.NoError(t, err)
	require.NoError(t, rc.XLen(t.Context(), "topic1").Err(), "the node that has the key")
	rc.close()
	require.NoError(t, tr.Close())
	require.NoError(t, c.Close())
}

func TestClusterSlotMovesWhilePublishing(t *testing.T) {
	cl := redistest.StartCluster(t, 2, 0)
	c := cl.Client()
	tr := New(c, Options{})
	defer tr.Close()
	require.NoError(t, tr.Publish(bounded(t), orders1, text2msg("0")))
	cl.MoveSlot("orders.placed")
	ms := []string{"0"}
	for i := range 20 {
		ms = append(ms, fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i))
		require.NoError(t, tr.Publish(bounded(t), orders1, text2msg(ms[len(ms)-2:]...)))
	}
	require.Equal(t, ms, bodies(t, c, "orders.placed"))
}

func TestPublishErrorsShowNoPayload(t *testing.T) {
	addr := fakeRedis(t, func(args []string) string {
		if args[0] != "xadd" {
			return old("7.0.0", true)(args)
		}
		return "-ERR unknown command `xadd`, with args beginning with: `" + args[len(args)-1] + "`\r\n"
	})
	tr := producing(t, addr, 0)
	err := tr.Publish(bounded(t), orders1, text2msg("hunter2"))
	require.ErrorContains(t, err, "this server does not know the command")
	for e := err; e != nil; e = errors.Unwrap(e) {
		require.NotContains(t, e.Error(), "hunter2")
	}
	require.NotContains(t, fmt.Sprintf("%+v %#v", err, err), "hunter2")
}
