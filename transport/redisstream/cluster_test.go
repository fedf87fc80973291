package redisstream

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

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
