package redisstream

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

const shortLease = 400 * time.Millisecond

// orphans leaves n new entries of a stream behind, delivered so often, for a lease and longer to a consumer that is dead.
func (b *bench) orphans(stream string, n, deliveries int) (ids []string) {
	b.Helper()
	ctx := bounded(b)
	for i := range n {
		args := &redis.XAddArgs{Stream: stream, Values: []string{"id", fmt.Sprint(i), "data", "x"}}
		ids = append(ids, b.client.XAdd(ctx, args).Val())
	}
	b.orphan(stream, deliveries, ids...)
	return ids
}

// orphan leaves entries that wait in a stream to a dead consumer.
func (b *bench) orphan(stream string, deliveries int, ids ...string) {
	b.Helper()
	ctx := bounded(b)
	_ = b.client.XGroupCreateMkStream(ctx, stream, "g", "0")
	es, err := b.client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "dead", Streams: []string{stream, ">"}, Count: int64(len(ids))}).Result()
	require.NoError(b, err)
	require.Len(b, es[0].Messages, len(ids))
	for _, id := range ids {
		require.NoError(b, b.client.Do(ctx, "xclaim", stream, "g", "dead", 0, id, "idle", 60_000, "retrycount", deliveries, "justid").Err())
	}
}

// pendingFor is how often each entry of a stream that is pending for a consumer was delivered.
func (b *bench) pendingFor(stream, consumer string) map[string]int64 {
	b.Helper()
	page, err := b.client.XPendingExt(bounded(b), &redis.XPendingExtArgs{Stream: stream, Group: "g", Start: "-", End: "+", Count: 10_000, Consumer: consumer}).Result()
	require.NoError(b, err)
	counts := map[string]int64{}
	for _, p := range page {
		counts[p.ID] = p.RetryCount
	}
	return counts
}

// idsOf are the entries of deliveries.
func idsOf(ds []*transport.Delivery) (ids []string) {
	for _, d := range ds {
		_, id := receiptEntry(d.Receipt)
		ids = append(ids, id)
	}
	return ids
}

// nothing comes, however often it is looked for.
func nothing(t *testing.T, ss ...*subscription) {
	t.Helper()
	for _, s := range ss {
		ctx, cancel := context.WithTimeout(t.Context(), 3*claimTick(shortLease))
		ds, err := s.Receive(ctx, 100)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Empty(t, ds)
	}
}

func (b *bench) open(s *subscription) { b.Cleanup(func() { _ = s.Close(context.Background()) }) }

// shorty is a subscription whose first claim is due.
func (b *bench) shorty(tr *Transport, w *watcher) *subscription {
	b.Helper()
	s := b.subscribe(tr, w.group("g", shortLease))
	s.reader.claimAt = time.Now()
	b.open(s)
	return s
}

func (b *bench) quarantined(tr *Transport) bool {
	_, taken := tr.quarantine.takenFor(time.Now())
	return taken
}

// 1. what was delivered twice comes one by one, the next when the one before is settled, from either stream.
func TestSuspectsComeOneByOne(t *testing.T) {
	for _, stream := range []string{"orders", "{orders}:g:retry"} {
		t.Run(stream, func(t *testing.T) {
			b, w := newBench(t), &watcher{}
			ids := b.orphans(stream, 10, 2)
			s := b.shorty(b.tr, w)
			for n := range ids {
				ds, err := s.Receive(bounded(t), 100)
				require.NoError(t, err)
				require.Equal(t, ids[n:n+1], idsOf(ds))
				require.Equal(t, 2, ds[0].Redelivered)
				if n == 0 {
					nothing(t, s)
				}
				settle(t, s, transport.Done, 0, ds...)
			}
			nothing(t, s)
			require.False(t, b.quarantined(b.tr))
			require.True(t, s.reader.suspectsAt.IsZero(), "nothing is left to look for")
			b.idle("g")
		})
	}
}

// 2. it is the process that holds one, whatever its subscriptions.
func TestSubscriptionsShareTheQuarantine(t *testing.T) {
	b, w := newBench(t), &watcher{}
	b.orphans("orders", 3, 2)
	s1, s2 := b.shorty(b.tr, w), b.shorty(b.tr, &watcher{})
	first := receive(t, s1, 1)
	nothing(t, s1, s2)
	settle(t, s1, transport.Failed, time.Hour, first...)
	second := receive(t, s2, 1)
	nothing(t, s1, s2)
	settle(t, s2, transport.Done, 0, second...)
	settle(t, s1, transport.Done, 0, receive(t, s1, 1)...)
	nothing(t, s1, s2)
}

// 3. what was delivered once is taken at once, and comes whether or not a suspect is held.
func TestTheFirstTimeOrphansComeTogether(t *testing.T) {
	b, w := newBench(t), &watcher{}
	suspects := b.orphans("orders", 2, 2)
	once := b.orphans("orders", 50, 1)
	s := b.shorty(b.tr, w)
	ds, err := s.Receive(bounded(t), 100)
	require.NoError(t, err)
	require.Equal(t, append(suspects[:1:1], once...), idsOf(ds))
	more := b.orphans("orders", 30, 1)
	require.Equal(t, more, idsOf(receive(t, s, 30)))
	nothing(t, s)
}

// 4. suspects left behind stay as they are, for others.
func TestSuspectsLeftBehindAreUntouched(t *testing.T) {
	b, w := newBench(t), &watcher{}
	ids := b.orphans("orders", 3, 4)
	s1 := b.shorty(b.tr, w)
	require.Equal(t, ids[:1], idsOf(receive(t, s1, 1)))
	nothing(t, s1)
	require.Equal(t, map[string]int64{ids[1]: 4, ids[2]: 4}, b.pendingFor("orders", "dead"))
	page, err := b.client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: "orders", Group: "g", Start: "-", End: "+", Count: 10, Consumer: "dead"}).Result()
	require.NoError(t, err)
	require.GreaterOrEqual(t, page[0].Idle, time.Minute, "its idle time goes on")

	s2 := b.shorty(b.transport(), &watcher{})
	ds := receive(t, s2, 1)
	require.Equal(t, ids[1:2], idsOf(ds))
	require.Equal(t, 4, ds[0].Redelivered)
	nothing(t, s1, s2)
	require.Equal(t, map[string]int64{ids[2]: 4}, b.pendingFor("orders", "dead"))
}

// 5. whatever becomes of a suspect, the next one can come.
func TestTheQuarantineEnds(t *testing.T) {
	for name, ends := range map[string]func(t *testing.T, b *bench, s *subscription, d *transport.Delivery){
		"closed": func(t *testing.T, _ *bench, s *subscription, _ *transport.Delivery) {
			require.NoError(t, s.Close(bounded(t)))
		},
		"crashed": func(_ *testing.T, _ *bench, s *subscription, _ *transport.Delivery) { s.crash() },
		"not released": func(t *testing.T, _ *bench, s *subscription, _ *transport.Delivery) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.Error(t, s.Close(ctx))
		},
		"dead": func(t *testing.T, _ *bench, s *subscription, d *transport.Delivery) {
			settle(t, s, transport.Dead, 0, d)
		},
		"staged": func(t *testing.T, _ *bench, s *subscription, d *transport.Delivery) {
			m := &transport.Message{ID: "out"}
			st := transport.Settlement{Delivery: d, Verdict: transport.Done, Stage: []transport.Staged{{Topic: orders, Message: m}}}
			require.NoError(t, s.Settle(bounded(t), []transport.Settlement{st}))
		},
		"taken away": func(t *testing.T, b *bench, s *subscription, _ *transport.Delivery) {
			for id := range b.pendingFor("orders", s.consumer) {
				require.NoError(t, b.client.XAck(t.Context(), "orders", "g", id).Err())
			}
		},
		"stalled": func(t *testing.T, _ *bench, s *subscription, _ *transport.Delivery) {
			resume := s.stall()
			time.AfterFunc(2*shortLease, resume)
		},
		"group lost": func(t *testing.T, b *bench, _ *subscription, _ *transport.Delivery) {
			require.NoError(t, b.client.XGroupDestroy(t.Context(), "orders", "g").Err())
			b.client.XGroupCreate(t.Context(), "orders", "g", "$")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.orphans("orders", 2, 2)
			s := b.shorty(b.tr, &watcher{})
			d := receive(t, s, 1)[0]
			require.True(t, b.quarantined(b.tr))
			ends(t, b, s, d)
			require.NoError(t, redistest.Eventually(5*time.Second, func(context.Context) error {
				if b.quarantined(b.tr) {
					return fmt.Errorf("the quarantine is taken still")
				}
				return nil
			}))
			if name == "group lost" {
				b.orphans("orders", 1, 2)
			}
			for next := b.shorty(b.tr, &watcher{}); !b.quarantined(b.tr); { // what is released or staged may come first
				receive(t, next, 1)
			}
		})
	}
}

// 6. entries that were deleted while they were pending are reported at once, suspects or not, and hold up nobody.
func TestDeletedSuspectsAreReported(t *testing.T) {
	b, w := newBench(t), &watcher{}
	suspects, once := b.orphans("orders", 150, 3), b.orphans("orders", 150, 1)
	last := b.orphans("orders", 1, 3)
	deleted := append(slices.Clone(suspects), once...)
	require.NoError(t, b.client.XDel(t.Context(), "orders", deleted...).Err())
	s := b.shorty(b.tr, w)
	require.Equal(t, last, idsOf(receive(t, s, 1)))
	w.await(t, bounded(t), "a report", func() bool { return len(w.warns) > 0 })
	var loss *transport.LossError
	require.ErrorAs(t, w.warns[0], &loss)
	require.Equal(t, []any{int64(300), deleted[0], deleted[299]}, []any{loss.Count, loss.From, loss.To})
	require.Len(t, b.pendingFor("orders", s.consumer), 1)
	require.Empty(t, b.pendingFor("orders", "dead"))
}

// what an entry of the retry stream was delivered before it came there counts.
func TestBookkeepingMakesSuspects(t *testing.T) {
	b, w := newBench(t), &watcher{}
	var ids []string
	for range 3 {
		args := &redis.XAddArgs{Stream: "{orders}:g:retry", Values: []string{"id", "x", "data", "x", fieldRedelivered, "1"}}
		ids = append(ids, b.client.XAdd(t.Context(), args).Val())
	}
	b.orphan("{orders}:g:retry", 1, ids...)
	s := b.shorty(b.tr, w)
	for n := range ids {
		ds, err := s.Receive(bounded(t), 10)
		require.NoError(t, err)
		require.Equal(t, ids[n:n+1], idsOf(ds))
		require.Equal(t, 2, ds[0].Redelivered)
		settle(t, s, transport.Done, 0, ds...)
	}
	b.idle("g")
}

// a list longer than one look is looked through, and each look takes one suspect.
func TestLongListsOfSuspects(t *testing.T) {
	b, w := newBench(t), &watcher{}
	suspects, once := b.orphans("orders", 1500, 2), b.orphans("orders", 20, 1)
	s := b.shorty(b.tr, w)
	var got []string
	for len(got) < 21 {
		ds, err := s.Receive(bounded(t), 100)
		require.NoError(t, err)
		got = append(got, idsOf(ds)...)
	}
	require.Equal(t, append(suspects[:1:1], once...), got, "what comes once is behind 1,500 that may not come")
	require.Len(t, b.pendingFor("orders", "dead"), 1499)
}

// while the quarantine is taken nobody asks the server for suspects but at the ticks of claiming.
func TestLookingForSuspectsDoesNotSpin(t *testing.T) {
	b, w := newBench(t), &watcher{}
	b.orphans("orders", 2, 2)
	s := b.shorty(b.tr, w)
	receive(t, s, 1)
	before := b.calls("xreadgroup")
	began := time.Now()
	nothing(t, s)
	nothing(t, s)
	ticks := int(time.Since(began)/claimTick(shortLease)) + 2
	require.Less(t, b.calls("xreadgroup")-before, 16+4*ticks)
}

// the next one comes when the one before has its outcome, not at the next tick.
func TestTheNextSuspectComesSoon(t *testing.T) {
	b, w := newBench(t), &watcher{}
	ids := b.orphans("orders", 20, 2)
	s := b.subscribe(b.tr, w.group("g", 40*time.Second))
	b.open(s)
	s.reader.claimAt = time.Now()
	s.others.Store(true)
	began := time.Now()
	for range ids {
		settle(t, s, transport.Done, 0, receive(t, s, 1)...)
	}
	require.Less(t, time.Since(began), claimTick(s.lease))
}

// a suspect that came with an answer that was lost has the quarantine as well.
func TestASuspectThatWasStranded(t *testing.T) {
	b, w := newBench(t), &watcher{}
	ids := b.orphans("orders", 3, 2)
	s := b.shorty(b.tr, w)
	require.NoError(t, b.client.Do(t.Context(), "xclaim", "orders", "g", s.consumer, 0, ids[1]).Err())
	s.reader.adoptAt = []time.Time{time.Now()}
	ds := receive(t, s, 1)
	require.Equal(t, ids[1:2], idsOf(ds))
	nothing(t, s)
	settle(t, s, transport.Done, 0, ds...)
	require.Equal(t, ids[:1], idsOf(receive(t, s, 1)))
}

func (b *bench) calls(command string) (n int) {
	b.Helper()
	for l := range strings.Lines(b.client.Info(b.Context(), "commandstats").Val()) {
		if rest, ok := strings.CutPrefix(l, "cmdstat_"+command+":calls="); ok {
			count, _, _ := strings.Cut(rest, ",")
			n, _ = strconv.Atoi(count)
		}
	}
	return n
}

// BenchmarkLookForOrphans is what looking through 1,000 pending entries takes the server: all of them in good hands, or suspects that
// may not be taken. A PING for comparison.
func BenchmarkLookForOrphans(b *testing.B) {
	s := newBench(b)
	s.orphans("orders", 1000, 2)
	s.client.XGroupCreateMkStream(b.Context(), "{orders}:g:retry", "g", "0")
	look := func(lease time.Duration) func() error {
		return func() error {
			_, err := scriptClaim.run(b.Context(), s.client, []string{"orders", "{orders}:g:retry"}, "g", "other", lease.Milliseconds(), 100, 0, 2, "0-0", "0-0")
			return err
		}
	}
	ping := func() error { return s.client.Ping(b.Context()).Err() }
	for name, f := range map[string]func() error{"ping": ping, "good hands": look(time.Hour), "suspects": look(time.Second)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, f())
			}
		})
	}
}
