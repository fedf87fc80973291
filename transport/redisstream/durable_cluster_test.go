package redisstream

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// What the server refuses because a slot has moved is stored where the slot is now, once.
func TestDurableFollowsAMovedSlot(t *testing.T) {
	leakFree(t)
	cl := redistest.StartCluster(t, 2, 0)
	c := cl.Client()
	tr := New(c, Options{})
	defer tr.Close()
	plain := durable("orders.placed", 20*time.Millisecond) // there is no replica: what is stored is short of one
	once := plain
	once.Dedup = time.Minute
	n := 0
	publish := func(topic transport.Topic, bodies ...string) {
		err := tr.Publish(bounded(t), topic, text2msg(bodies...))
		for _, o := range outcomesOf(t, err) {
			require.Equal(t, stored, o, err)
		}
		require.NoError(t, shortageOf(t, err).Err)
		n += len(bodies)
	}
	publish(plain, "0")
	publish(once, "1", "2")
	for range 3 {
		cl.MoveSlot("orders.placed")
		publish(once, "scripts", "scripts") // not known there
		publish(plain, "a", "b", "c")
		cl.MoveSlot("orders.placed")
		var wg sync.WaitGroup
		errs := make([]error, 20)
		for i := range errs {
			wg.Go(func() { errs[i] = tr.Publish(bounded(t), plain, text2msg(strconv.Itoa(i))) })
		}
		wg.Wait()
		for _, err := range errs {
			require.Equal(t, []transport.Outcome{stored}, outcomesOf(t, err), err)
		}
		n += len(errs)
	}
	require.Len(t, bodies(t, c, "orders.placed"), n)
}
