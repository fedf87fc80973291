package redisstream

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

func claimOf(key, owner string) transport.Claim {
	return transport.Claim{Topic: "orders", Group: "g", Key: key, Owner: owner}
}

// begun says whether Begin made the claim running.
func begun(t testing.TB, tr *Transport, c transport.Claim, expiry time.Duration) bool {
	t.Helper()
	done, wait, err := tr.Begin(bounded(t), c, expiry)
	require.NoError(t, err)
	if !done && wait > 0 {
		require.LessOrEqual(t, wait, time.Hour)
	}
	return !done && wait == 0
}

// What docs/wire-format.md says of claims.
func TestClaimsInRedis(t *testing.T) {
	b := newBench(t)
	key := "{orders}:g:seen:42"
	require.True(t, begun(t, b.tr, claimOf("42", "me"), time.Hour))
	require.Equal(t, "run me", b.client.Get(t.Context(), key).Val())
	left := b.client.PTTL(t.Context(), key).Val()
	require.Positive(t, left)
	require.LessOrEqual(t, left, time.Hour)
	require.NoError(t, b.tr.Finish(bounded(t), claimOf("42", "me"), 2*time.Hour))
	require.Equal(t, "1", b.client.Get(t.Context(), key).Val())
	require.Greater(t, b.client.PTTL(t.Context(), key).Val(), time.Hour)

	long := strings.Repeat("x", 5000)
	require.True(t, begun(t, b.tr, claimOf(long, "me"), time.Hour))
	require.EqualValues(t, 1, b.client.Exists(t.Context(), "{orders}:g:seen256:c59d3c0480cc2d71d8f646e735e92da65450311eec46e81a5db8c7e6e8a92054").Val())
	require.False(t, begun(t, b.tr, claimOf(long, "other"), time.Hour))
	require.True(t, begun(t, b.tr, claimOf(long+"x", "other"), time.Hour))

	require.True(t, begun(t, b.tr, claimOf("an owner of any name", "1"), time.Hour))
	require.False(t, begun(t, b.tr, claimOf("an owner of any name", ""), time.Hour))
	require.NoError(t, b.tr.Finish(bounded(t), claimOf("not at all", "a"), 0))
	awaitAbsent(t, b.client, "{orders}:g:seen:not at all")
}

// Owners that begin, work and finish, die or give up, all at once: nobody works while another does, and nobody after it is done.
func TestWhoHasAClaimHasItAlone(t *testing.T) {
	b := newBench(t)
	var working, finished atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for try := 0; ; try++ {
				c := claimOf("k", fmt.Sprint(i, ".", try))
				done, wait, err := b.tr.Begin(t.Context(), c, time.Hour)
				if !assert.NoError(t, err) || done {
					return
				}
				if wait > 0 {
					continue
				}
				assert.EqualValues(t, 1, working.Add(1))
				assert.Zero(t, finished.Load())
				lost, err := b.tr.Renew(t.Context(), []transport.Claim{c}, time.Hour)
				assert.NoError(t, err)
				assert.Empty(t, lost)
				working.Add(-1)
				if i == 7 && try > 20 {
					finished.Add(1)
					assert.NoError(t, b.tr.Finish(t.Context(), c, time.Hour))
				} else {
					assert.NoError(t, b.tr.Release(t.Context(), c))
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, finished.Load())
}

func awaitAbsent(t testing.TB, c *redis.Client, key string) {
	t.Helper()
	require.NoError(t, redistest.Eventually(10*time.Second, func(ctx context.Context) error {
		if n, err := c.Exists(ctx, key).Result(); n != 0 || err != nil {
			return fmt.Errorf("%s is still there: %v", key, err)
		}
		return nil
	}))
}

// One round trip begins a claim or finds it done. Where another has it the second one looks at all of it again: it may be done by
// then.
func TestRoundTripsOfBegin(t *testing.T) {
	b := newBench(t)
	p := redistest.NewProxy(t, b.server.Addr)
	tr := producing(t, p.Addr, 0)
	require.True(t, begun(t, tr, claimOf("warm", "a"), time.Hour))
	require.False(t, begun(t, tr, claimOf("warm", "b"), time.Hour))
	trips := func(c transport.Claim) (n int, done bool) {
		p.OnRequest(func([]byte) { n++ })
		defer p.OnRequest(nil)
		done, _, err := tr.Begin(bounded(t), c, time.Hour)
		require.NoError(t, err)
		return n, done
	}
	n, done := trips(claimOf("k", "a"))
	require.Equal(t, 1, n)
	require.False(t, done)
	n, _ = trips(claimOf("k", "b"))
	require.Equal(t, 2, n)
	require.NoError(t, b.tr.Finish(bounded(t), claimOf("k", "a"), time.Hour))
	n, done = trips(claimOf("k", "b"))
	require.Equal(t, 1, n)
	require.True(t, done)
	reply, err := scriptBegin.run(bounded(t), b.client, []string{"{orders}:g:seen:k"}, claimRuns+"b", 1000)
	require.NoError(t, err)
	require.EqualValues(t, -1, reply)
}

// A claim that somebody made last for ever still has some time.
func TestAClaimThatDoesNotExpire(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.client.Set(t.Context(), "{orders}:g:seen:k", "run a", 0).Err())
	done, wait, err := b.tr.Begin(bounded(t), claimOf("k", "b"), time.Minute)
	require.NoError(t, err)
	require.False(t, done)
	require.Equal(t, time.Minute, wait)
}

func TestRenewManyInOneRoundTrip(t *testing.T) {
	b := newBench(t)
	var round atomic.Int64
	p := redistest.NewProxy(t, b.server.Addr)
	tr := producing(t, p.Addr, 0)
	var cs, want []transport.Claim
	for i := range 450 {
		c := transport.Claim{Topic: fmt.Sprintf("orders.%d", i%2), Group: "g", Key: fmt.Sprint(i), Owner: "me"}
		cs = append(cs, c)
		if i%10 == 0 {
			other := c
			other.Owner = "other"
			require.True(t, begun(t, b.tr, other, time.Hour))
			want = append(want, c)
		}
	}
	_, err := tr.Renew(bounded(t), cs[:1], time.Hour)
	require.NoError(t, err)
	p.OnRequest(func([]byte) { round.Add(1) })
	lost, err := tr.Renew(bounded(t), cs, time.Hour)
	require.NoError(t, err)
	require.ElementsMatch(t, want, lost)
	require.LessOrEqual(t, round.Load(), int64(4), "one pipeline, in as many pieces as it was read")
	require.EqualValues(t, 450, b.client.DBSize(t.Context()).Val())
	lost, err = tr.Renew(bounded(t), nil, time.Hour)
	require.NoError(t, err)
	require.Empty(t, lost)
}

// A lost answer leaves a claim that its owner has, and can begin again.
func TestBeginWhoseAnswerIsLost(t *testing.T) {
	b := newBench(t)
	p := redistest.NewProxy(t, b.server.Addr)
	c := redis.NewClient(&redis.Options{Addr: p.Addr, MaxRetries: -1})
	tr := New(c, Options{})
	t.Cleanup(func() {
		tr.Close()
		c.Close()
	})
	require.True(t, begun(t, tr, claimOf("warm", "a"), time.Hour))
	p.Lose(func(req []byte) bool { return bytes.Contains(req, []byte("seen")) })
	_, _, err := tr.Begin(bounded(t), claimOf("secret key", "a"), time.Hour)
	require.ErrorContains(t, err, "redisstream: claim of orders for g: begin: ")
	require.NotContains(t, err.Error(), "secret")
	require.ErrorContains(t, tr.Finish(bounded(t), claimOf("finish", "a"), time.Hour), "redisstream: claim of orders for g: finish: ")
	require.ErrorContains(t, tr.Release(bounded(t), claimOf("warm", "a")), "redisstream: claim of orders for g: release: ")
	_, err = tr.Renew(bounded(t), []transport.Claim{claimOf("renew", "a")}, time.Hour)
	require.ErrorContains(t, err, "redisstream: claim of orders for g: renew: ")
	p.Lose(nil)
	require.False(t, begun(t, b.tr, claimOf("secret key", "b"), time.Hour))
	require.True(t, begun(t, tr, claimOf("secret key", "a"), time.Hour))

	// go-redis does it by itself where it may.
	trying := producing(t, p.Addr, 0)
	require.True(t, begun(t, trying, claimOf("warm", "a"), time.Hour))
	once := true
	p.Lose(func(req []byte) bool {
		hit := once && bytes.Contains(req, []byte("again"))
		once = once && !hit
		return hit
	})
	require.True(t, begun(t, trying, claimOf("again", "a"), time.Hour))
	require.Equal(t, "run a", b.client.Get(t.Context(), "{orders}:g:seen:again").Val())
}

func TestMistakesWithClaims(t *testing.T) {
	b := newBench(t)
	bad := transport.Claim{Topic: "a b", Group: "", Key: "secret"}
	_, _, err := b.tr.Begin(bounded(t), bad, time.Hour)
	require.ErrorContains(t, err, `redisstream: claim: bad topic name "a b"`)
	require.ErrorContains(t, err, `bad group name ""`)
	_, err = b.tr.Renew(bounded(t), []transport.Claim{bad}, time.Hour)
	require.ErrorContains(t, err, "redisstream: claim: bad topic name")
	require.Error(t, b.tr.Finish(bounded(t), bad, time.Hour))
	require.Error(t, b.tr.Release(bounded(t), bad))

	require.NoError(t, b.client.HSet(t.Context(), "{orders}:g:seen:k", "f", "v").Err())
	_, _, err = b.tr.Begin(bounded(t), claimOf("k", "a"), time.Hour)
	require.ErrorContains(t, err, "redisstream: claim of orders for g: begin: a key that belongs to orders has another type")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = b.tr.Begin(ctx, claimOf("k", "a"), time.Hour)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, b.tr.Close())
	require.ErrorIs(t, b.tr.Finish(bounded(t), claimOf("k", "a"), time.Hour), transport.ErrClosed)
}

func TestClaimsWhileRedisHangs(t *testing.T) {
	s := redistest.Start(t)
	c := redis.NewClient(&redis.Options{Addr: s.Addr, ContextTimeoutEnabled: true})
	tr := New(c, Options{})
	t.Cleanup(func() {
		tr.Close()
		c.Close()
	})
	require.True(t, begun(t, tr, claimOf("k", "a"), time.Hour))
	s.Pause()
	defer s.Resume()
	for what, call := range map[string]func(context.Context) error{
		"finish":  func(ctx context.Context) error { return tr.Finish(ctx, claimOf("k", "a"), time.Hour) },
		"release": func(ctx context.Context) error { return tr.Release(ctx, claimOf("k", "a")) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := call(ctx)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "redisstream: claim of orders for g: "+what+": ")
	}
}

func TestClaimsWhileRedisIsAway(t *testing.T) {
	b := newBench(t)
	require.True(t, begun(t, b.tr, claimOf("k", "a"), time.Hour))
	b.server.Kill()
	_, _, err := b.tr.Begin(bounded(t), claimOf("k", "a"), time.Hour)
	require.ErrorContains(t, err, "redisstream: claim of orders for g: begin: cannot reach Redis")
	_, err = b.tr.Renew(bounded(t), []transport.Claim{claimOf("k", "a")}, time.Hour)
	require.ErrorContains(t, err, "redisstream: claim of orders for g: renew: cannot reach Redis")
}

// A connection that is refused leaves the commands of a pipeline without an error of their own.
func TestRenewOnAConnectionThatIsRefused(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "right")
	c := redis.NewClient(&redis.Options{Addr: s.Addr, Password: "wrong"})
	tr := New(c, Options{})
	t.Cleanup(func() {
		tr.Close()
		c.Close()
	})
	_, err := tr.Renew(bounded(t), []transport.Claim{claimOf("k", "a")}, time.Hour)
	require.ErrorContains(t, err, "redisstream: claim of orders for g: renew: ")
}

func TestRightsOfClaims(t *testing.T) {
	s := redistest.Start(t)
	rules := claimRules(topicKeys("", "orders"))
	use := func() (errs []error) {
		tr := limited(t, s)
		s.Client().FlushAll(t.Context())
		_, _, err := tr.Begin(bounded(t), claimOf("k", "a"), time.Hour)
		errs = append(errs, err)
		_, _, err = tr.Begin(bounded(t), claimOf("k", "b"), time.Hour)
		errs = append(errs, err)
		_, err = tr.Renew(bounded(t), []transport.Claim{claimOf("k", "a")}, time.Hour)
		return append(errs, err, tr.Release(bounded(t), claimOf("k", "a")), tr.Finish(bounded(t), claimOf("k", "a"), time.Hour))
	}
	setUser(t, s, rules...)
	for _, err := range use() {
		require.NoError(t, err)
	}
	for i, rule := range rules {
		if rule == "+eval" { // the scripts are known by now
			continue
		}
		setUser(t, s, append(append([]string{}, rules[:i]...), rules[i+1:]...)...)
		said := false
		for _, err := range use() {
			if err != nil {
				require.Regexp(t, `^redisstream: claim of orders for g: [a-z]+: the user lacks rights: ACL SETUSER <user> .*`, err.Error())
				said = said || strings.Contains(err.Error(), rule)
			}
		}
		require.True(t, said, "without %s", rule)
	}
}

func TestClaimsOnACluster(t *testing.T) {
	leakFree(t)
	cl := redistest.StartCluster(t, 3, 0)
	c := cl.Client()
	tr := New(c, Options{Prefix: "shop:", Mappings: map[string]Mapping{"topic1": {Data: "payload"}}})
	defer tr.Close()
	var cs []transport.Claim
	for i := range 30 {
		cs = append(cs, transport.Claim{Topic: fmt.Sprintf("topic%d", i%10), Group: "g", Key: fmt.Sprint(i), Owner: "a"})
		require.True(t, begun(t, tr, cs[i], time.Hour))
	}
	lost, err := tr.Renew(bounded(t), cs, time.Hour)
	require.NoError(t, err)
	require.Empty(t, lost)
	cl.MoveSlot("shop:topic3")
	for _, claim := range cs {
		other := claim
		other.Owner = "b"
		require.False(t, begun(t, tr, other, time.Hour))
		require.NoError(t, tr.Release(bounded(t), claim))
		require.True(t, begun(t, tr, other, time.Hour))
		require.NoError(t, tr.Finish(bounded(t), other, time.Hour))
	}
	lost, err = tr.Renew(bounded(t), cs, time.Hour)
	require.NoError(t, err)
	require.ElementsMatch(t, cs, lost)
	require.NoError(t, tr.Close())
	require.NoError(t, c.Close())
}
