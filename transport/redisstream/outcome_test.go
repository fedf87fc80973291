package redisstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

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
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			} else {
				assert.NoError(t, err)
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
	var calls atomic.Int64
	addr := fakeRedis(t, func(args []string) string {
		if args[0] != "xadd" {
			return old("7.0.0", true)(args)
		}
		n := int(calls.Add(1))
		switch n {
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

	calls.Store(2) // the third message of the first pipeline is refused: the second pipeline is not sent
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
