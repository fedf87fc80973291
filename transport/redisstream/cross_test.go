package redisstream

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/transporttest"
)

func onCluster(t testing.TB) (c *redistest.Cluster, open func() *Transport) {
	c = redistest.StartCluster(t, 3, 0)
	return c, func() *Transport {
		tr := New(c.Client(), Options{})
		t.Cleanup(func() { tr.Close() })
		return tr
	}
}

func TestContractOnCluster(t *testing.T) {
	c, open := onCluster(t)
	raw := c.Client()
	ctx := context.Background() // cleanups use it
	transporttest.Run(t, transporttest.Harness{
		Parallel: 8,
		Broker: func(testing.TB) transporttest.Broker {
			return transporttest.Broker{
				Open:  func() transport.Transport { return open() },
				Crash: func(s transport.Subscription) { s.(*subscription).crash() },
				Stall: func(s transport.Subscription) func() { return s.(*subscription).stall() },
				Inject: func(tp transport.Topic) {
					require.NoError(t, raw.XAdd(ctx, &redis.XAddArgs{Stream: tp.Name, Values: []string{"some", "thing"}}).Err())
				},
				Stored: func(tp transport.Topic) int { return int(raw.XLen(ctx, tp.Name).Val()) },
			}
		},
	})
}

func TestStagingAcrossSlots(t *testing.T) {
	c, open := onCluster(t)
	raw := c.Client()
	var trs []*Transport
	var subs []*subscription
	w := &watcher{}
	for range 3 { // all of them relay
		tr := open()
		s, err := tr.Subscribe(t.Context(), orders, w.group("g", 5*time.Second))
		require.NoError(t, err)
		trs, subs = append(trs, tr), append(subs, s.(*subscription))
	}
	const n = 300
	crowd := newCrowd(t, func(d *transport.Delivery) transport.Settlement {
		st := done(d)
		for i := range 3 {
			m := &transport.Message{ID: fmt.Sprintf("%s/%d", d.ID, i)}
			if i == 2 {
				m.NotBefore = time.Now().Add(100 * time.Millisecond)
			}
			st.Stage = append(st.Stage, transport.Staged{Topic: transport.Topic{Name: fmt.Sprint("out", i)}, Message: m})
		}
		return st
	}, subs...)
	ms := make([]*transport.Message, n)
	var ids []string
	for i := range ms {
		ms[i] = &transport.Message{ID: transport.NewID()}
		ids = append(ids, ms[i].ID)
	}
	require.NoError(t, trs[0].Publish(t.Context(), orders, ms))
	crowd.awaitAll(20*time.Second, ids)
	err := redistest.Eventually(20*time.Second, func(ctx context.Context) error {
		for i := range 3 {
			if got := raw.XLen(ctx, fmt.Sprint("out", i)).Val(); got < n {
				return fmt.Errorf("out%d has %d of %d", i, got, n)
			}
		}
		if left := raw.XLen(ctx, "{orders}:outbox").Val(); left != 0 {
			return fmt.Errorf("%d are in the outbox", left)
		}
		return nil
	})
	require.NoError(t, err)
	for i := range 3 {
		seen := map[string]bool{}
		for _, e := range raw.XRange(t.Context(), fmt.Sprint("out", i), "-", "+").Val() {
			id := text(e.Values["id"])
			require.False(t, seen[id], "%s came twice", id)
			require.NotContains(t, e.Values, fieldTopic)
			seen[id] = true
		}
		require.Len(t, seen, n)
	}
	require.Empty(t, w.warns)
}

func TestSlotMovesWhileConsuming(t *testing.T) {
	c, open := onCluster(t)
	w := &watcher{}
	var subs []*subscription
	tr := open()
	for range 2 {
		s, err := open().Subscribe(t.Context(), orders, w.group("g", 10*time.Second))
		require.NoError(t, err)
		subs = append(subs, s.(*subscription))
	}
	crowd := newCrowd(t, mixed, subs...)
	var ids []string
	for i := range 6 {
		ms := make([]*transport.Message, 40)
		for j := range ms {
			ms[j] = &transport.Message{ID: transport.NewID(), Headers: transport.Headers{{Name: "n", Value: fmt.Sprint(j)}}}
			ids = append(ids, ms[j].ID)
		}
		err := redistest.Eventually(10*time.Second, func(ctx context.Context) error {
			err := tr.Publish(ctx, orders, ms)
			var pe *transport.PublishError
			if errors.As(err, &pe) {
				for k := len(ms) - 1; k >= 0; k-- {
					if pe.Outcomes[k] == transport.Stored {
						ms = append(ms[:k], ms[k+1:]...)
					}
				}
			}
			return err
		})
		require.NoError(t, err)
		if i%2 == 0 {
			c.MoveSlot("orders")
		}
	}
	crowd.awaitAll(20*time.Second, ids)
	require.Zero(t, crowd.doubles(ids))
	require.Zero(t, losses(w.warns), "%v", w.warns)
	require.Empty(t, w.lost)
}
