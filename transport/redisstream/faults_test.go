package redisstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// A crowd handles messages with several consumers, as the bus does: an error makes a consumer wait a little.
type crowd struct {
	testing.TB
	mu      sync.Mutex
	handled map[string]int // by id
	change  chan struct{}
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

// newCrowd runs a consumer on each subscription. verdict decides what is to become of a delivery.
func newCrowd(t testing.TB, verdict func(*transport.Delivery) transport.Settlement, subs ...*subscription) *crowd {
	ctx, stop := context.WithCancel(t.Context())
	c := &crowd{TB: t, handled: map[string]int{}, change: make(chan struct{}, 1), stop: stop}
	for _, s := range subs {
		c.wg.Go(func() { c.consume(ctx, s, verdict) })
	}
	t.Cleanup(c.end)
	return c
}

func (c *crowd) end() {
	c.stop()
	c.wg.Wait()
}

func (c *crowd) consume(ctx context.Context, s *subscription, verdict func(*transport.Delivery) transport.Settlement) {
	for ctx.Err() == nil {
		ds, err := s.Receive(ctx, 50)
		if err != nil {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		todo := make([]transport.Settlement, len(ds))
		for i, d := range ds {
			todo[i] = verdict(d)
		}
		for len(todo) > 0 && ctx.Err() == nil {
			todo = c.settle(ctx, s, todo)
		}
	}
}

// settle returns what has to be tried again.
func (c *crowd) settle(ctx context.Context, s *subscription, ss []transport.Settlement) (again []transport.Settlement) {
	err := s.Settle(ctx, ss)
	var se *transport.SettleError
	errors.As(err, &se)
	c.mu.Lock()
	for i, st := range ss {
		switch {
		case se == nil || se.Errs[i] == nil:
			if st.Verdict == transport.Done || st.Verdict == transport.Dead {
				c.handled[st.ID]++
			}
		case !errors.Is(se.Errs[i], transport.ErrLeaseLost):
			again = append(again, st)
		}
	}
	c.mu.Unlock()
	select {
	case c.change <- struct{}{}:
	default:
	}
	if len(again) > 0 {
		pause(ctx, 20*time.Millisecond)
	}
	return again
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// awaitAll waits until all ids are handled.
func (c *crowd) awaitAll(d time.Duration, ids []string) {
	c.Helper()
	ctx := within(c, d)
	for {
		if c.missing(ids) == 0 {
			return
		}
		select {
		case <-c.change:
		case <-ctx.Done():
			c.Fatalf("%d of %d messages were not handled within %v", c.missing(ids), len(ids), d)
		}
	}
}

func (c *crowd) missing(ids []string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		if c.handled[id] == 0 {
			n++
		}
	}
	return n
}

// doubles are how many of ids were handled more than once.
func (c *crowd) doubles(ids []string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		if c.handled[id] > 1 {
			n++
		}
	}
	return n
}

func done(d *transport.Delivery) transport.Settlement {
	return transport.Settlement{Delivery: d, Verdict: transport.Done}
}

// mixed settles in all the ways there are, and everything Done or Dead in the end.
func mixed(d *transport.Delivery) transport.Settlement {
	st := transport.Settlement{Delivery: d, Verdict: transport.Done}
	if d.Attempt == 1 {
		switch d.Headers.Get("n")[len(d.Headers.Get("n"))-1] {
		case '1':
			st.Verdict = transport.Failed
		case '2':
			st.Verdict, st.After = transport.Failed, 30*time.Millisecond
		case '3':
			st.Verdict, st.Reason, st.Error = transport.Dead, "test", "because"
		case '4':
			st.Stage = []transport.Staged{{Topic: transport.Topic{Name: "out"}, Message: &transport.Message{ID: "out-" + d.ID}}}
		}
	}
	return st
}

// idle sees that nothing is pending, waiting or left behind in a group.
func (b *bench) idle(group string) {
	b.Helper()
	var lag transport.Lag
	err := redistest.Eventually(5*time.Second, func(ctx context.Context) (err error) {
		if lag, err = b.tr.Lag(ctx, orders, group); err != nil {
			return err
		}
		if lag.Undelivered != 0 || lag.Pending != 0 || lag.Waiting != 0 {
			return fmt.Errorf("%+v", lag)
		}
		return nil
	})
	require.NoError(b, err)
}

func losses(warns []error) (n int) {
	for _, w := range warns {
		var loss *transport.LossError
		if errors.As(w, &loss) {
			n++
		}
	}
	return n
}

func TestGroupIsMadeAgain(t *testing.T) {
	for name, strike := range map[string]func(context.Context, *redis.Client) error{
		"flushall":     func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() },
		"stream":       func(ctx context.Context, c *redis.Client) error { return c.Del(ctx, "orders").Err() },
		"group":        func(ctx context.Context, c *redis.Client) error { return c.XGroupDestroy(ctx, "orders", "g").Err() },
		"retry stream": func(ctx context.Context, c *redis.Client) error { return c.Del(ctx, "{orders}:g:retry").Err() },
		"retry group": func(ctx context.Context, c *redis.Client) error {
			return c.XGroupDestroy(ctx, "{orders}:g:retry", "g").Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			w := &watcher{}
			g := w.group("g", 2*time.Second)
			c := newCrowd(t, mixed, b.subscribe(b.tr, g), b.subscribe(b.transport(), g), b.subscribe(b.transport(), g))
			c.awaitAll(10*time.Second, b.publish(300))

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var load sync.WaitGroup
			load.Go(func() { // goes on meanwhile
				for ctx.Err() == nil {
					_ = b.tr.Publish(ctx, orders, []*transport.Message{{ID: transport.NewID(), Headers: transport.Headers{{Name: "n", Value: "0"}}}})
				}
			})
			began := time.Now()
			require.NoError(t, strike(t.Context(), b.client))
			after := b.publish(200)
			c.awaitAll(4*time.Second, after)
			t.Logf("handled what came after it within %v", time.Since(began))
			require.Less(t, time.Since(began), 4*time.Second) // 2 s but for the race detector on a busy machine
			cancel()
			load.Wait()
			c.awaitAll(10*time.Second, b.publish(10))
			b.idle("g")
			w.mu.Lock()
			defer w.mu.Unlock()
			want := 1
			if name == "retry group" {
				want = 0
			}
			require.Equal(t, want, losses(w.warns), "warnings: %v", w.warns)
		})
	}
}

func TestDestroyedGroupLosesNothing(t *testing.T) {
	b := newBench(t)
	w := &watcher{}
	g := w.group("g", 2*time.Second)
	c := newCrowd(t, done, b.subscribe(b.tr, g), b.subscribe(b.transport(), g))
	var ids []string
	for i := range 30 {
		ids = append(ids, b.publish(20)...)
		if i%10 == 5 {
			require.NoError(t, b.client.XGroupDestroy(t.Context(), "orders", "g").Err())
		}
	}
	c.awaitAll(15*time.Second, ids)
	b.idle("g")
}

// lossy puts the subscriptions of a transport behind a proxy.
func (b *bench) lossy() (*Transport, *redistest.Proxy) {
	p := redistest.NewProxy(b, b.server.Addr)
	client := redis.NewClient(&redis.Options{Addr: p.Addr})
	tr := New(client, Options{})
	b.Cleanup(func() {
		tr.Close()
		client.Close()
	})
	return tr, p
}

// every nth request with the text loses its answer.
func every(n int, words ...string) func([]byte) bool {
	i := 0
	return func(request []byte) bool {
		for _, word := range words {
			if bytes.Contains(request, []byte(word)) {
				i++
				return i%n == 0
			}
		}
		return false
	}
}

func TestLostReadIsAdopted(t *testing.T) {
	b := newBench(t)
	tr, proxy := b.lossy()
	w := &watcher{}
	s := b.subscribe(tr, w.group("g", time.Minute))
	b.publish(5)
	settle(t, s, transport.Failed, 0, receive(t, s, 5)...)
	b.publish(5)
	proxy.Lose(every(1, "xreadgroup"))
	_, err := s.Receive(within(t, 5*time.Second), 20)
	require.Error(t, err)
	proxy.Lose(nil)
	require.Equal(t, 1, proxy.Lost())
	began := time.Now()
	for _, d := range receive(t, s, 10) {
		require.Zero(t, d.Redelivered)
		settle(t, s, transport.Done, 0, d)
	}
	require.Less(t, time.Since(began), time.Second)
	b.idle("g")
}

func TestLostAnswersLoseAndDoubleNothing(t *testing.T) {
	b := newBench(t)
	tr, proxy := b.lossy()
	w := &watcher{}
	g := w.group("g", 10*time.Second)
	s1, s2 := b.subscribe(tr, g), b.subscribe(tr, g)
	proxy.Lose(every(7, "xreadgroup", "evalsha", "xack"))
	c := newCrowd(t, mixed, s1, s2)
	ids := b.publish(1500)
	c.awaitAll(30*time.Second, ids)
	proxy.Lose(nil)
	t.Logf("%d answers lost", proxy.Lost())
	require.Positive(t, proxy.Lost())
	c.awaitAll(10*time.Second, b.publish(1))
	b.idle("g")
	require.Zero(t, c.doubles(ids))
	staged := map[string]int{}
	for _, e := range b.client.XRange(t.Context(), "out", "-", "+").Val() {
		staged[text(e.Values["id"])]++
	}
	require.Len(t, staged, 150)
	for id, n := range staged {
		require.Equal(t, 1, n, id)
	}
	require.EqualValues(t, 150, b.client.XLen(t.Context(), "{orders}:g:dead").Val())
	require.Empty(t, w.lost)
}

func TestScriptFlushUnderLoad(t *testing.T) {
	b := newBench(t)
	w := &watcher{}
	g := w.group("g", time.Second)
	c := newCrowd(t, mixed, b.subscribe(b.tr, g), b.subscribe(b.transport(), g))
	ctx, cancel := context.WithCancel(t.Context())
	var flusher sync.WaitGroup
	flusher.Go(func() {
		for ctx.Err() == nil {
			b.client.ScriptFlush(t.Context())
			pause(ctx, 5*time.Millisecond)
		}
	})
	var ids []string
	for range 10 {
		ids = append(ids, b.publish(100)...)
	}
	c.awaitAll(20*time.Second, ids)
	cancel()
	flusher.Wait()
	require.Zero(t, c.doubles(ids))
	b.idle("g")
	require.Empty(t, w.warns)
}

func TestStoppedServer(t *testing.T) {
	b := newBench(t)
	w := &watcher{}
	const lease = 500 * time.Millisecond
	s := b.subscribe(b.tr, w.group("g", lease))
	b.publish(3)
	ds := receive(t, s, 3)
	b.server.Pause()
	began := time.Now()
	w.await(t, within(t, 5*time.Second), "all leases lost", func() bool { return len(w.lost) == 3 && len(w.warns) == 1 })
	require.WithinDuration(t, began.Add(lease), time.Now(), lease)
	b.server.Resume()
	err := s.Settle(within(t, 10*time.Second), []transport.Settlement{{Delivery: ds[0], Verdict: transport.Failed}})
	require.ErrorIs(t, err, transport.ErrLeaseLost)
	settle(t, s, transport.Done, 0, ds[1])
	for range 2 {
		d := receive(t, s, 1)[0]
		require.Equal(t, 1, d.Redelivered)
		require.NotEqual(t, ds[1].ID, d.ID)
		settle(t, s, transport.Done, 0, d)
	}
	b.idle("g")
	require.Len(t, w.lost, 3)
	require.Len(t, w.warns, 1)
}

func TestRestart(t *testing.T) {
	for name, args := range map[string][]string{"without data": nil, "with its data": {"--appendonly", "yes", "--appendfsync", "always"}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, args...)
			w := &watcher{}
			g := w.group("g", 5*time.Second)
			c := newCrowd(t, mixed, b.subscribe(b.tr, g), b.subscribe(b.transport(), g))
			ids := b.publish(500)
			c.awaitAll(10*time.Second, ids)
			more := b.publish(500)
			b.server.Kill()
			b.server.Restart()
			err := redistest.Eventually(5*time.Second, func(ctx context.Context) error {
				return b.tr.Publish(ctx, orders, []*transport.Message{{ID: "again", Headers: transport.Headers{{Name: "n", Value: "0"}}}})
			})
			require.NoError(t, err)
			after := append(b.publish(100), "again")
			c.awaitAll(3*time.Second, after)
			if args != nil {
				c.awaitAll(15*time.Second, more)
				b.tr.tend(t.Context(), []string{"orders"})
				require.Zero(t, losses(w.warns), "%v", w.warns)
			} else {
				require.Equal(t, 1, losses(w.warns), "%v", w.warns)
			}
			b.idle("g")
		})
	}
}

func TestTrimmedWhilePending(t *testing.T) {
	b := newBench(t)
	w := &watcher{}
	const lease = 300 * time.Millisecond
	s1 := b.subscribe(b.tr, w.group("g", lease))
	b.publish(20)
	receive(t, s1, 20)
	s1.crash()
	require.EqualValues(t, 20, b.client.XTrimMaxLen(t.Context(), "orders", 0).Val())
	s2 := b.subscribe(b.transport(), w.group("g", lease))
	ctx, cancel := context.WithCancel(within(t, 10*time.Second))
	go func() {
		defer cancel()
		w.await(t, ctx, "loss reported", func() bool { return losses(w.warns) > 0 })
	}()
	_, err := s2.Receive(ctx, 10)
	require.ErrorIs(t, err, context.Canceled)
	var loss *transport.LossError
	require.ErrorAs(t, w.warns[0], &loss)
	t.Log(loss)
	require.EqualValues(t, 20, loss.Count)
	require.Zero(t, b.client.XPending(t.Context(), "orders", "g").Val().Count)
}

// What is held is worked on all the same when it is trimmed: the payload is here.
func TestTrimmedWhileHeld(t *testing.T) {
	b := newBench(t)
	w := &watcher{}
	const lease = 300 * time.Millisecond
	s := b.subscribe(b.tr, w.group("g", lease))
	b.publish(4)
	ds := receive(t, s, 4)
	b.client.XTrimMaxLen(t.Context(), "orders", 0)
	settle(t, s, transport.Failed, 0, ds[0]) // found out when settling
	err := redistest.Eventually(3*time.Second, func(context.Context) error {
		s.held.mu.Lock()
		defer s.held.mu.Unlock()
		for _, h := range s.held.byKey {
			if !h.gone {
				return errors.New("not noticed")
			}
		}
		return nil
	})
	require.NoError(t, err)
	settle(t, s, transport.Failed, 0, ds[1]) // found out when renewing
	settle(t, s, transport.Dead, 0, ds[2])
	settle(t, s, transport.Done, 0, ds[3])
	for i, d := range receive(t, s, 2) {
		require.Equal(t, ds[i].ID, d.ID)
		require.Equal(t, ds[i].Body, d.Body)
		require.Equal(t, 2, d.Attempt)
		settle(t, s, transport.Done, 0, d)
	}
	require.Empty(t, w.lost)
	require.EqualValues(t, 1, b.client.XLen(t.Context(), "{orders}:g:dead").Val())
}

func TestTrimmedUnread(t *testing.T) {
	b := newBench(t)
	w := &watcher{}
	s := b.subscribe(b.tr, w.group("g", 0))
	b.publish(10)
	settle(t, s, transport.Done, 0, receive(t, s, 3)...)
	es := b.client.XRange(t.Context(), "orders", "-", "+").Val()
	b.client.XTrimMinID(t.Context(), "orders", es[7].ID) // of ten, three were read, and three are left
	tend := func() { b.tr.tend(t.Context(), []string{"orders"}) }
	tend()
	tend()
	require.Len(t, w.warns, 1)
	var loss *transport.LossError
	require.ErrorAs(t, w.warns[0], &loss)
	require.EqualValues(t, 4, loss.Count)
	require.Equal(t, es[2].ID, loss.From)
	require.Equal(t, es[7].ID, loss.To)
	lag, err := b.tr.Lag(t.Context(), orders, "g")
	require.NoError(t, err)
	require.EqualValues(t, 3, lag.Undelivered)
	settle(t, s, transport.Done, 0, receive(t, s, 3)...)
	tend()
	b.client.XTrimMaxLen(t.Context(), "orders", 0)
	tend()
	require.Len(t, w.warns, 1)
	b.idle("g")
}

func TestStagingIsWholeOrNothing(t *testing.T) {
	b := newBench(t)
	w := &watcher{}
	s := b.subscribe(b.tr, w.group("g", 0))
	b.publish(1)
	d := receive(t, s, 1)[0]
	stage := func(topics ...string) error {
		st := transport.Settlement{Delivery: d, Verdict: transport.Done}
		for i, name := range topics {
			m := &transport.Message{ID: fmt.Sprint(name, i)}
			if i%2 == 1 {
				m.NotBefore = time.Now().Add(50 * time.Millisecond)
			}
			st.Stage = append(st.Stage, transport.Staged{Topic: transport.Topic{Name: name}, Message: m})
		}
		return s.Settle(within(t, 5*time.Second), []transport.Settlement{st})
	}
	ctx := t.Context()
	for key, topics := range map[string][]string{"b": {"a", "a", "b"}, "{b}:due": {"a", "b"}, "{b}:due:body": {"a", "b"}} {
		b.client.Set(ctx, key, "no stream", 0)
		require.Error(t, stage(topics...))
		require.Zero(t, b.client.Exists(ctx, "a", "{a}:due", "{a}:due:body").Val())
		require.EqualValues(t, 1, b.client.XPending(ctx, "orders", "g").Val().Count)
		b.client.Del(ctx, key)
	}
	require.NoError(t, stage("a", "a", "b"))
	require.NoError(t, stage("a", "a", "b")) // settled already: nothing happens
	require.EqualValues(t, 1, b.client.XLen(ctx, "b").Val())
	err := redistest.Eventually(5*time.Second, func(ctx context.Context) error {
		if n := b.client.XLen(ctx, "a").Val(); n != 2 {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
	require.NoError(t, err)
	b.idle("g")
}

func TestCloseReleasesWithinASecond(t *testing.T) {
	b := newBench(t)
	w := &watcher{}
	s1 := b.subscribe(b.tr, w.group("g", time.Minute))
	ids := b.publish(1000)
	receive(t, s1, 600) // and 400 are neither read nor buffered
	c := newCrowd(t, done, b.subscribe(b.transport(), w.group("g", time.Minute)))
	began := time.Now()
	require.NoError(t, s1.Close(within(t, 5*time.Second)))
	t.Logf("closed after %v", time.Since(began))
	c.awaitAll(5*time.Second, ids)
	t.Logf("all handled after %v", time.Since(began))
	require.Less(t, time.Since(began), 3*time.Second) // 1 s but for the race detector on a busy machine
	require.Empty(t, w.lost)
	b.idle("g")
}

// What a half open connection was sent is adopted as soon as the read has had its time.
func TestHalfOpenConnection(t *testing.T) {
	b := newBench(t)
	tr, proxy := b.lossy()
	w := &watcher{}
	s := b.subscribe(tr, w.group("g", time.Minute))
	b.publish(1)
	settle(t, s, transport.Done, 0, receive(t, s, 1)...)
	got := make(chan []*transport.Delivery, 1)
	ctx := within(t, 30*time.Second)
	go func() {
		ds, _ := s.Receive(ctx, 10)
		got <- ds
	}()
	err := redistest.Eventually(5*time.Second, func(ctx context.Context) error {
		if n := b.client.Info(ctx, "clients").Val(); !bytes.Contains([]byte(n), []byte("blocked_clients:1")) {
			return errors.New("the read does not wait yet")
		}
		return nil
	})
	require.NoError(t, err)
	proxy.BlackHole(true)
	began := time.Now()
	ids := b.publish(1)
	err = redistest.Eventually(5*time.Second, func(ctx context.Context) error {
		if b.client.XPending(ctx, "orders", "g").Val().Count != 1 {
			return errors.New("not delivered")
		}
		return nil
	})
	require.NoError(t, err)
	proxy.BlackHole(false) // for new connections; what this one was sent is gone
	ds := <-got
	require.Len(t, ds, 1)
	require.Equal(t, ids[0], ds[0].ID)
	require.Zero(t, ds[0].Redelivered)
	require.Less(t, time.Since(began), blockFor+readMargin+2*time.Second)
	settle(t, s, transport.Done, 0, ds...)
	b.idle("g")
}

// A server without room goes on delivering and acknowledging; what it cannot store stays leased.
func TestNoRoom(t *testing.T) {
	b := newBench(t)
	w := &watcher{}
	s := b.subscribe(b.tr, w.group("g", time.Second))
	b.publish(3)
	ds := receive(t, s, 3)
	require.NoError(t, b.client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	err := s.Settle(t.Context(), []transport.Settlement{
		{Delivery: ds[0], Verdict: transport.Done}, {Delivery: ds[1], Verdict: transport.Failed}, {Delivery: ds[2], Verdict: transport.Dead}})
	var se *transport.SettleError
	require.ErrorAs(t, err, &se)
	require.NoError(t, se.Errs[0])
	require.ErrorIs(t, se.Errs[1], transport.ErrNoRoom)
	require.ErrorIs(t, se.Errs[2], transport.ErrNoRoom)
	require.EqualValues(t, 2, b.client.XPending(t.Context(), "orders", "g").Val().Count)
	require.NoError(t, b.client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	settle(t, s, transport.Failed, 0, ds[1:]...)
	for _, d := range receive(t, s, 2) {
		require.Equal(t, 2, d.Attempt)
		settle(t, s, transport.Done, 0, d)
	}
	require.Empty(t, w.lost)
	b.idle("g")
}

func TestSettleAsksOnceMore(t *testing.T) {
	b := newBench(t)
	tr, proxy := b.lossy()
	w := &watcher{}
	s := b.subscribe(tr, w.group("g", time.Minute))
	b.publish(4)
	ds := receive(t, s, 4)
	lose := func(n int) func([]byte) bool {
		return func(request []byte) bool {
			if !bytes.Contains(request, []byte("evalsha")) && !bytes.Contains(request, []byte("xack")) {
				return false
			}
			n--
			return n >= 0
		}
	}
	for i, v := range []transport.Verdict{transport.Done, transport.Failed, transport.Deferred, transport.Dead} {
		proxy.Lose(lose(1))
		settle(t, s, v, time.Hour, ds[i])
		require.Equal(t, i+1, proxy.Lost())
	}
	proxy.Lose(nil)
	lag, err := b.tr.Lag(t.Context(), orders, "g")
	require.NoError(t, err)
	require.Equal(t, transport.Lag{Waiting: 2, Dead: 1}, lag)

	b.publish(1)
	d := receive(t, s, 1)[0]
	failed := []transport.Settlement{{Delivery: d, Verdict: transport.Failed}}
	proxy.Lose(lose(2)) // and not again and again
	require.Error(t, s.Settle(t.Context(), failed))
	require.NoError(t, s.Settle(t.Context(), failed)) // it has happened
	require.Equal(t, 2, receive(t, s, 1)[0].Attempt)
	require.Empty(t, w.lost)
}
