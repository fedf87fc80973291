package redisstream

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
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
				assert.NoError(t, tr.Publish(bounded(t), orders1, text2msg(fmt.Sprintf("%d/%d", c, i))))
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
