package redisstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// consumers are those that the group has on either stream.
func (b *bench) consumers(group string) (n int) {
	b.Helper()
	for _, key := range []string{"orders", "{orders}:" + group + ":retry"} {
		n = max(n, len(b.client.XInfoConsumers(b.Context(), key, group).Val()))
	}
	return n
}

// visit reads as a consumer does that lives for a moment: it takes something and ends it, or is killed with or without anything.
func (b *bench) visit(i int) {
	ctx, name := b.Context(), fmt.Sprint("visitor-", i)
	b.client.XGroupCreateConsumer(ctx, "orders", "g", name)
	b.client.XGroupCreateConsumer(ctx, "{orders}:g:retry", "g", name)
	if i%10 == 0 {
		b.client.Do(ctx, "xreadgroup", "group", "g", name, "count", 1, "streams", "orders", ">")
	}
}

// 10,000 consumers that were killed, some of them with what they had taken, leave nothing behind and take nothing along.
func TestGhostsAreRemoved(t *testing.T) {
	b, w := newBench(t), &watcher{}
	b.tr.tending.idle, b.tr.tending.reaps = time.Nanosecond, time.Nanosecond // nobody counts as alive
	const lease = time.Second
	s := b.subscribe(b.tr, w.group("g", lease))
	ids := b.publish(2000)
	var visitors sync.WaitGroup
	for part := range 4 {
		visitors.Go(func() {
			for i := part; i < 10_000; i += 4 {
				b.visit(i)
			}
		})
	}
	visitors.Wait()
	require.GreaterOrEqual(t, b.consumers("g"), 10_000)
	pending := b.client.XPending(t.Context(), "orders", "g").Val().Count
	require.EqualValues(t, 1000, pending)
	b.tr.tend(t.Context(), []string{"orders"})
	require.EqualValues(t, pending, b.client.XPending(t.Context(), "orders", "g").Val().Count, "nothing pending is taken away")
	require.Len(t, b.client.XInfoConsumers(t.Context(), "orders", "g").Val(), int(pending))

	c := newCrowd(t, done, s)
	c.awaitAll(30*time.Second, ids)
	require.NoError(t, redistest.Eventually(20*time.Second, func(ctx context.Context) error {
		b.tr.tend(ctx, []string{"orders"})
		if n := b.consumers("g"); n > 1 {
			return fmt.Errorf("%d consumers are left", n)
		}
		return nil
	}))
	c.awaitAll(10*time.Second, b.publish(10))
	b.idle("g")
	require.Empty(t, w.warns)
	require.Empty(t, w.lost)
}

// consumers that leave cleanly leave nothing, while events flow.
func TestShortLivedConsumersLeaveNothing(t *testing.T) {
	b, w := newBench(t), &watcher{}
	g := w.group("g", 2*time.Second)
	c := newCrowd(t, done, b.subscribe(b.tr, g))
	var ids []string
	var brief sync.WaitGroup
	for round := range 10 {
		ids = append(ids, b.publish(50)...)
		for range 10 {
			brief.Go(func() {
				s := b.subscribe(b.tr, g)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				defer cancel()
				_, _ = s.Receive(ctx, 5) // what it got goes back
				if round%2 == 0 {
					s.crash()
				} else {
					_ = s.Close(within(t, 10*time.Second))
				}
			})
		}
		brief.Wait()
	}
	c.awaitAll(30*time.Second, ids)
	require.NoError(t, redistest.Eventually(10*time.Second, func(ctx context.Context) error {
		if n := b.client.XPending(ctx, "orders", "g").Val().Count; n > 0 {
			return errors.New("pending")
		}
		return nil
	}))
	require.LessOrEqual(t, b.consumers("g"), 1+50, "those that were killed wait for the janitor")
	b.tr.tending.idle = 0
	b.tr.tending.mu.Lock()
	e := b.tr.tending.topics["orders"]
	b.tr.tending.mu.Unlock()
	b.tr.tending.turn.Lock()
	e.reapAt = time.Now()
	b.tr.tending.turn.Unlock()
	b.tr.tend(t.Context(), []string{"orders"})
	require.LessOrEqual(t, b.consumers("g"), 1)
	c.awaitAll(10*time.Second, b.publish(10))
	b.idle("g")
}

// a consumer that lives and is taken for a ghost loses nothing: what it waits for makes it again.
func TestRemovingAConsumerThatWaitsDoesNoHarm(t *testing.T) {
	b, w := newBench(t), &watcher{}
	b.tr.tending.idle, b.tr.tending.reaps = time.Nanosecond, time.Nanosecond
	s := b.subscribe(b.tr, w.group("g", time.Minute))
	got := make(chan []*transport.Delivery, 1)
	go func() {
		ds, _ := s.Receive(within(t, 20*time.Second), 10)
		got <- ds
	}()
	require.NoError(t, redistest.Eventually(5*time.Second, func(ctx context.Context) error {
		b.tr.tend(ctx, []string{"orders"})
		if n := b.client.InfoMap(ctx, "clients").Item("Clients", "blocked_clients"); n != "1" {
			return errors.New("the read does not wait yet")
		}
		if b.consumers("g") > 0 {
			return errors.New("not removed yet")
		}
		return nil
	}))
	ids := b.publish(1)
	ds := <-got
	require.Len(t, ds, 1)
	require.Equal(t, ids[0], ds[0].ID)
	b.tr.tend(t.Context(), []string{"orders"})
	settle(t, s, transport.Done, 0, ds...)
	b.idle("g")
	require.Empty(t, w.lost)
}
