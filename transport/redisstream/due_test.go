package redisstream

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

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
				assert.NoError(t, tr.Publish(bounded(t), orders1, append(delayedMsg(strconv.Itoa(i), time.Hour), text2msg("now")...)))
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
