package redisstream

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

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
				assert.NoError(t, tr.Publish(bounded(t), topic, append(text2msg(strconv.Itoa(j)), delayedMsg("later", time.Hour)...)))
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
	require.EqualError(t, tr.clarify("receive", "topic1", replyError("MOVED 1 127.0.0.1:1")), "redisstream: receive: the key is on another node of the Cluster now")
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

// While keys of a slot are on both nodes a script with several keys is answered TRYAGAIN. It has done nothing.
func TestScriptsWaitForASlotOnItsWay(t *testing.T) {
	leakFree(t)
	cl := redistest.StartCluster(t, 2, 0)
	c := cl.Client()
	tr := New(c, Options{})
	defer tr.Close()
	topic := orders1
	topic.Dedup = time.Minute
	require.NoError(t, tr.Publish(bounded(t), topic, withIDs("first")))
	m := cl.BeginMove("orders.placed")

	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := tr.Publish(short, topic, withIDs("hasty"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "the slot is on its way to another node")
	require.Equal(t, []transport.Outcome{notStored}, outcomesOf(t, err))

	var publishing sync.WaitGroup
	want := []string{"first"}
	for i := range 20 {
		want = append(want, fmt.Sprint("patient-", i))
	}
	publishing.Go(func() { assert.NoError(t, tr.Publish(bounded(t), topic, withIDs(want[1:]...))) })
	publishing.Go(func() { assert.NoError(t, tr.Publish(bounded(t), orders1, delayedMsg("later", time.Hour))) })
	publishing.Go(func() {
		_, err := tr.Lag(bounded(t), orders1, "g")
		assert.ErrorIs(t, err, transport.ErrNoGroup)
	})
	refused(t, c, "TRYAGAIN", 10)
	m.Keys(1, "orders.placed") // what is stored in the stream is on one node now, the mark of its id on the other
	refused(t, c, "TRYAGAIN", 10)
	m.Keys(1000)
	refused(t, c, "TRYAGAIN", 10)
	m.End()
	publishing.Wait()
	require.ElementsMatch(t, want, bodies(t, c, "orders.placed"), "each once")
	require.EqualValues(t, 1, c.ZCard(t.Context(), "{orders.placed}:due").Val())
	require.NoError(t, c.Close())
}

// Renewing touches one key at a time: what touches two is refused for as long as they are on two nodes.
func TestLeasesOutliveASlotOnItsWay(t *testing.T) {
	leakFree(t)
	cl := redistest.StartCluster(t, 2, 0)
	c := cl.Client()
	tr := New(c, Options{})
	defer tr.Close()
	const lease = time.Second
	var w watcher
	sub, err := tr.Subscribe(bounded(t), orders1, w.group("g", lease))
	require.NoError(t, err)
	s := sub.(*subscription)
	require.NoError(t, tr.Publish(bounded(t), orders1, withIDs("retried", "new")))
	ds := receive(t, s, 2)
	settle(t, s, transport.Failed, 0, ds[0])
	ds[0] = receive(t, s, 1)[0]

	m := cl.BeginMove("orders.placed")
	m.Keys(1, "orders.placed") // and not the retry stream
	over := time.NewTimer(3 * lease)
	<-over.C
	w.mu.Lock()
	require.Empty(t, w.lost)
	w.mu.Unlock()
	m.Keys(1000)
	m.End()
	settle(t, s, transport.Done, 0, ds...)
	lag, err := tr.Lag(bounded(t), orders1, "g")
	require.NoError(t, err)
	require.Zero(t, lag.Pending)
	require.NoError(t, s.Close(bounded(t)))
	require.NoError(t, tr.Close())
	require.NoError(t, c.Close())
}

// Close looks for what a lost answer brought, where the slot is now.
func TestCloseFollowsASlot(t *testing.T) {
	leakFree(t)
	cl := redistest.StartCluster(t, 2, 0)
	c := cl.Client()
	tr := New(c, Options{})
	defer tr.Close()
	var w watcher
	sub, err := tr.Subscribe(bounded(t), orders1, w.group("g", time.Minute))
	require.NoError(t, err)
	s := sub.(*subscription)
	require.NoError(t, tr.Publish(bounded(t), orders1, withIDs("held")))
	receive(t, s, 1)
	s.reader.adoptAt = []time.Time{time.Now()}
	cl.MoveSlot("orders.placed")
	require.NoError(t, s.Close(bounded(t)))
	require.NoError(t, tr.Close())
	require.NoError(t, c.Close())
}

func withIDs(ids ...string) []*transport.Message {
	ms := text2msg(ids...)
	for i, m := range ms {
		m.ID = ids[i]
	}
	return ms
}

// refused waits until servers have answered an error some times more.
func refused(t *testing.T, c *redis.ClusterClient, code string, times int) {
	t.Helper()
	var before int
	first := true
	require.NoError(t, redistest.Eventually(10*time.Second, func(ctx context.Context) error {
		var mu sync.Mutex
		n := 0
		err := c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			text, err := node.Info(ctx, "errorstats").Result()
			_, text, _ = strings.Cut(text, "errorstat_"+code+":count=")
			text, _, _ = strings.Cut(text, "\r")
			mu.Lock()
			defer mu.Unlock()
			count, _ := strconv.Atoi(text)
			n += count
			return err
		})
		if first {
			before, first = n, false
		}
		if err == nil && n < before+times {
			err = fmt.Errorf("%s was answered %d times", code, n-before)
		}
		return err
	}))
}
