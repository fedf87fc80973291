package redisstream

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// within bounds a test.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// A bench is a server with a transport.
type bench struct {
	testing.TB
	server *redistest.Server
	client *redis.Client
	tr     *Transport
}

func newBench(t testing.TB, args ...string) *bench {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		leakFree(t)
	}
	b := &bench{TB: t, server: redistest.Start(t, args...)}
	b.client = b.server.Client()
	b.tr = b.transport()
	return b
}

// transport makes another one, as another process would.
func (b *bench) transport() *Transport {
	tr := New(b.server.Client(), Options{})
	b.Cleanup(func() { tr.Close() })
	return tr
}

var orders = transport.Topic{Name: "orders"}

// A watcher collects what a group is told.
type watcher struct {
	mu    sync.Mutex
	lost  []*transport.Delivery
	warns []error
	news  chan struct{}
}

func (w *watcher) group(name string, lease time.Duration) transport.Group {
	w.news = make(chan struct{}, 1000)
	return transport.Group{Name: name, Lease: lease,
		Lost: func(d *transport.Delivery) {
			w.mu.Lock()
			w.lost = append(w.lost, d)
			w.mu.Unlock()
			w.news <- struct{}{}
		},
		Warn: func(err error) {
			w.mu.Lock()
			w.warns = append(w.warns, err)
			w.mu.Unlock()
			w.news <- struct{}{}
		},
	}
}

// await waits for news until ok.
func (w *watcher) await(t testing.TB, ctx context.Context, what string, ok func() bool) {
	t.Helper()
	for {
		w.mu.Lock()
		good := ok()
		w.mu.Unlock()
		if good {
			return
		}
		select {
		case <-w.news:
		case <-ctx.Done():
			t.Fatalf("never happened: %s; warnings %v, lost %d", what, w.warns, len(w.lost))
		}
	}
}

func (b *bench) subscribe(tr *Transport, g transport.Group) *subscription {
	b.Helper()
	s, err := tr.Subscribe(within(b, 5*time.Second), orders, g)
	require.NoError(b, err)
	return s.(*subscription)
}

func (b *bench) publish(n int) (ids []string) {
	b.Helper()
	ms := make([]*transport.Message, n)
	for i := range ms {
		ms[i] = &transport.Message{ID: transport.NewID(), Body: fmt.Appendf(nil, "body %d", i), Headers: transport.Headers{{Name: "n", Value: fmt.Sprint(i)}}}
		ids = append(ids, ms[i].ID)
	}
	require.NoError(b, b.tr.Publish(within(b, 10*time.Second), orders, ms))
	return ids
}

// receive receives exactly n deliveries.
func receive(t testing.TB, s *subscription, n int) (ds []*transport.Delivery) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	for len(ds) < n {
		got, err := s.Receive(ctx, n-len(ds))
		require.NoError(t, err)
		ds = append(ds, got...)
	}
	return ds
}

func settle(t testing.TB, s *subscription, v transport.Verdict, after time.Duration, ds ...*transport.Delivery) {
	t.Helper()
	var ss []transport.Settlement
	for _, d := range ds {
		ss = append(ss, transport.Settlement{Delivery: d, Verdict: v, After: after, Reason: "test", Error: "because"})
	}
	require.NoError(t, s.Settle(within(t, 10*time.Second), ss))
}

func TestReceiveAndSettle(t *testing.T) {
	b := newBench(t)
	var w watcher
	s := b.subscribe(b.tr, w.group("g", 0))
	ids := b.publish(5)
	ds := receive(t, s, 5)
	for i, d := range ds {
		require.Equal(t, ids[i], d.ID)
		require.Equal(t, 1, d.Attempt)
		require.Zero(t, d.Redelivered)
		require.NoError(t, d.Malformed)
		require.WithinDuration(t, time.Now(), d.Time, 10*time.Second)
	}
	settle(t, s, transport.Done, 0, ds[0], ds[1])
	settle(t, s, transport.Failed, 0, ds[2])
	again := receive(t, s, 1)[0]
	require.Equal(t, ids[2], again.ID)
	require.Equal(t, 2, again.Attempt)
	require.Equal(t, ds[2].Time, again.Time)
	require.Equal(t, ds[2].Headers, again.Headers)
	settle(t, s, transport.Dead, 0, again, ds[3])
	settle(t, s, transport.Done, 0, again, ds[3]) // no error
	require.NoError(t, s.Close(within(t, 5*time.Second)))

	s2 := b.subscribe(b.tr, w.group("g", 0))
	left := receive(t, s2, 1)[0]
	require.Equal(t, ids[4], left.ID)
	require.Equal(t, 1, left.Attempt)
	require.Zero(t, left.Redelivered)
	settle(t, s2, transport.Done, 0, left)
	require.NoError(t, s2.Close(within(t, 5*time.Second)))
	require.EqualValues(t, 2, b.client.XLen(t.Context(), "{orders}:g:dead").Val())
	require.Zero(t, b.client.XLen(t.Context(), "{orders}:g:retry").Val())
	require.Zero(t, b.client.XPending(t.Context(), "orders", "g").Val().Count)
	require.Empty(t, b.client.XInfoConsumers(t.Context(), "orders", "g").Val())
}

func TestLaterIsOnTimeAndNeverEarly(t *testing.T) {
	b := newBench(t)
	var w watcher
	s := b.subscribe(b.tr, w.group("g", 0))
	b.publish(3)
	ds := receive(t, s, 3)
	began := time.Now()
	settle(t, s, transport.Failed, 300*time.Millisecond, ds[0])
	settle(t, s, transport.Deferred, 600*time.Millisecond, ds[1])
	settle(t, s, transport.Done, 0, ds[2])
	first := receive(t, s, 1)[0]
	require.Equal(t, ds[0].ID, first.ID)
	require.Equal(t, 2, first.Attempt)
	require.GreaterOrEqual(t, time.Since(began), 300*time.Millisecond)
	require.Less(t, time.Since(began), 550*time.Millisecond)
	second := receive(t, s, 1)[0]
	require.Equal(t, ds[1].ID, second.ID)
	require.Equal(t, 1, second.Attempt)
	require.GreaterOrEqual(t, time.Since(began), 600*time.Millisecond)
	require.Less(t, time.Since(began), 850*time.Millisecond)

	began = time.Now()
	m := &transport.Message{ID: "later", NotBefore: began.Add(300 * time.Millisecond)}
	require.NoError(t, b.tr.Publish(t.Context(), orders, []*transport.Message{m}))
	require.Equal(t, "later", receive(t, s, 1)[0].ID)
	require.GreaterOrEqual(t, time.Since(began), 300*time.Millisecond)
	require.Less(t, time.Since(began), 550*time.Millisecond)
}

// crash ends a subscription as kill -9 ends a process: the server is told nothing.
func (s *subscription) crash() {
	s.once.Do(func() {
		s.die()
		s.link.shut()
		s.receiving <- struct{}{}
		s.forget()
	})
}

// stall stops renewing leases, as if the process were suspended.
func (s *subscription) stall() (resume func()) {
	still := make(chan struct{})
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	s.held.still = still
	return sync.OnceFunc(func() {
		s.held.mu.Lock()
		defer s.held.mu.Unlock()
		s.held.still = nil
		close(still)
	})
}

func TestCrashedConsumer(t *testing.T) {
	for _, lease := range []time.Duration{400 * time.Millisecond, alwaysClaims} {
		t.Run(lease.String(), func(t *testing.T) { crashedConsumer(t, lease) })
	}
}

func crashedConsumer(t *testing.T, lease time.Duration) {
	b := newBench(t)
	var w watcher
	s1 := b.subscribe(b.tr, w.group("g", lease))
	b.publish(10)
	ds := receive(t, s1, 10)
	settle(t, s1, transport.Failed, 0, ds[9])
	ds[9] = receive(t, s1, 1)[0]
	s2 := b.subscribe(b.transport(), w.group("g", lease))
	s1.crash()
	began := time.Now()
	for _, d := range receive(t, s2, 10) {
		require.Equal(t, 1, d.Redelivered)
		settle(t, s2, transport.Done, 0, d)
	}
	t.Logf("handled after %v", time.Since(began))
	require.Less(t, time.Since(began), lease+claimTick(lease)+500*time.Millisecond)
}

func TestLongHandlerRunsOnce(t *testing.T) {
	b := newBench(t)
	var w watcher
	const lease = 200 * time.Millisecond
	s1 := b.subscribe(b.tr, w.group("g", lease))
	b.publish(4)
	ds := receive(t, s1, 4)
	others, cancel := context.WithTimeout(t.Context(), 10*lease)
	defer cancel()
	var wg sync.WaitGroup
	for range 3 {
		s := b.subscribe(b.transport(), w.group("g", lease))
		wg.Go(func() {
			_, err := s.Receive(others, 10)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
	}
	wg.Wait()
	settle(t, s1, transport.Failed, 0, ds...)
	require.Empty(t, w.lost)
}

// A lease is an owner and a delivery count: what went to another consumer and came back is another lease.
func TestLeaseThatCameBackIsAnother(t *testing.T) {
	b := newBench(t)
	var w watcher
	s := b.subscribe(b.tr, w.group("g", time.Minute))
	b.publish(2)
	ds := receive(t, s, 2)
	for _, d := range ds {
		_, id := receiptEntry(d.Receipt)
		for _, consumer := range []string{"other", s.consumer} {
			claim := &redis.XClaimArgs{Stream: "orders", Group: "g", Consumer: consumer, Messages: []string{id}}
			require.NoError(t, b.client.XClaim(t.Context(), claim).Err())
		}
	}
	err := s.Settle(t.Context(), []transport.Settlement{{Delivery: ds[0], Verdict: transport.Failed}})
	require.ErrorIs(t, err, transport.ErrLeaseLost)
	require.NoError(t, s.renew(t.Context(), leaseTimeout))
	require.Equal(t, []*transport.Delivery{ds[0], ds[1]}, w.lost)
	require.EqualValues(t, 2, b.client.XPending(t.Context(), "orders", "g").Val().Count)
}

func TestGroupThatIsGoneGoesOnWhereItStood(t *testing.T) {
	b := newBench(t)
	var w watcher
	s := b.subscribe(b.tr, w.group("g", 0))
	ids := b.publish(4)
	settle(t, s, transport.Done, 0, receive(t, s, 2)...)
	b.tr.tend(t.Context(), []string{"orders"})
	require.NoError(t, s.Close(t.Context()))
	require.NoError(t, b.client.XGroupDestroy(t.Context(), "orders", "g").Err())
	g := w.group("g", 0)
	g.Start.Latest = true // for a group that is new
	s = b.subscribe(b.tr, g)
	for i, d := range receive(t, s, 2) {
		require.Equal(t, ids[2+i], d.ID)
		settle(t, s, transport.Done, 0, d)
	}
	require.Len(t, w.warns, 1)
	b.idle("g")
}

// The cursor of a stream that was deleted means nothing in the next one.
func TestCursorOfAnotherStream(t *testing.T) {
	b := newBench(t)
	var w watcher
	s := b.subscribe(b.tr, w.group("g", 0))
	b.publish(4)
	settle(t, s, transport.Done, 0, receive(t, s, 4)...)
	b.tr.tend(t.Context(), []string{"orders"})
	b.client.Del(t.Context(), "orders")
	for i := range 2 { // older than the cursor, as after a step of the clock
		require.NoError(t, b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: "orders", ID: fmt.Sprintf("%d-0", i+1), Values: []string{"data", "x"}}).Err())
	}
	require.Len(t, receive(t, s, 2), 2)
	require.Len(t, w.warns, 1)
}

func TestPositionThatWentBackIsReported(t *testing.T) {
	b := newBench(t)
	var w watcher
	s := b.subscribe(b.tr, w.group("g", 0))
	b.publish(4)
	settle(t, s, transport.Done, 0, receive(t, s, 4)...)
	b.tr.tend(t.Context(), []string{"orders"})
	require.NoError(t, b.client.XGroupSetID(t.Context(), "orders", "g", "0").Err())
	for range 3 {
		b.tr.tend(t.Context(), []string{"orders"})
	}
	require.Len(t, w.warns, 1)
	require.Len(t, receive(t, s, 4), 4)
}

func TestConsumersThatAreGoneAreRemoved(t *testing.T) {
	b := newBench(t)
	var w watcher
	ctx := t.Context()
	s := b.subscribe(b.tr, w.group("g", 0))
	b.publish(1)
	receive(t, s, 1)
	for i := range 5 {
		require.NoError(t, b.client.XGroupCreateConsumer(ctx, "orders", "g", fmt.Sprint("ghost", i)).Err())
	}
	_, err := scriptReap.run(ctx, b.client, []string{s.keys.stream, s.keys.retry}, "g", reapIdle.Milliseconds(), scriptBatch)
	require.NoError(t, err)
	require.Len(t, b.client.XInfoConsumers(ctx, "orders", "g").Val(), 6)
	_, err = scriptReap.run(ctx, b.client, []string{s.keys.stream, s.keys.retry}, "g", 0, scriptBatch)
	require.NoError(t, err)
	left := b.client.XInfoConsumers(ctx, "orders", "g").Val()
	require.Len(t, left, 1) // it has something pending
	require.Equal(t, s.consumer, left[0].Name)
}

func TestScriptsAreAllThere(t *testing.T) {
	b := newBench(t)
	files, err := scriptFiles.ReadDir("scripts")
	require.NoError(t, err)
	for _, f := range files {
		sc := newScript(f.Name()[:len(f.Name())-len(".lua")])
		require.NotEmpty(t, sc.src, f.Name())
		sha, err := b.client.ScriptLoad(t.Context(), sc.src).Result()
		require.NoError(t, err, f.Name())
		require.Equal(t, sc.sha, sha)
	}
	for _, sc := range []*script{scriptJoin, scriptRenew, scriptClaim, scriptAdopt, scriptLeave, scriptSettle, scriptMove, scriptSurvey,
		scriptLag, scriptReplay, scriptGaps, scriptTend, scriptRelay, scriptReap} {
		require.NotEmpty(t, sc.src)
	}
}
