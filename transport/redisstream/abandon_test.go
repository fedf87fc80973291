package redisstream

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// An abandonment is a topic with a group that is read, g, and one that is not, old.
type abandonment struct {
	*bench
	topic transport.Topic
	g     *subscription
	log   strings.Builder
}

const soon = 200 * time.Millisecond

func newAbandonment(t *testing.T, after time.Duration) *abandonment {
	a := &abandonment{bench: newBench(t, "--appendonly", "yes")}
	a.topic = transport.Topic{Name: "orders", Retention: transport.Retention{MaxLen: 10, AbandonAfter: after}}
	a.tr = New(a.client, Options{Warn: func(err error) { a.log.WriteString(err.Error() + "\n") }})
	a.tr.tends.first = time.Hour // the test does
	t.Cleanup(func() { a.tr.Close() })
	a.g = a.join("g", &watcher{})
	return a
}

func (a *abandonment) join(group string, w *watcher) *subscription {
	s, err := a.tr.Subscribe(a.Context(), a.topic, w.group(group, 0))
	require.NoError(a.TB, err)
	return s.(*subscription)
}

// handled publishes n entries and has g handle them.
func (a *abandonment) handled(n int) {
	a.publish(n)
	settle(a.TB, a.g, transport.Done, 0, receive(a.TB, a.g, n)...)
}

func (a *abandonment) tend() int64 {
	a.tr.tend(a.Context(), []string{"orders"})
	return a.client.XLen(a.Context(), "orders").Val()
}

// trimmed looks until the topic is short.
func (a *abandonment) trimmed() {
	a.Helper()
	require.NoError(a.TB, redistest.Eventually(10*time.Second, func(context.Context) error {
		if a.tend() > 200 {
			return errors.New("what the group old has not acknowledged is kept")
		}
		return nil
	}))
}

func (a *abandonment) said() int {
	return strings.Count(a.log.String(), "does not hold back retention any more")
}

func lossOf(t testing.TB, w *watcher) *transport.LossError {
	t.Helper()
	require.Len(t, w.warns, 1)
	var loss *transport.LossError
	require.ErrorAs(t, w.warns[0], &loss)
	return loss
}

// A group that nobody reads does not hold back the bound for ever. It is told once, and who comes back is told what is lost.
func TestAbandonedGroupIsPassed(t *testing.T) {
	for name, read := range map[string]int{"never read": 0, "has read some": 150} {
		t.Run(name, func(t *testing.T) {
			a := newAbandonment(t, soon)
			require.NoError(t, a.client.XGroupCreate(t.Context(), "orders", "old", "0").Err())
			a.handled(500)
			if read > 0 {
				_, err := a.client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "old", Consumer: "c", Streams: []string{"orders", ">"}, Count: int64(read), NoAck: true}).Result()
				require.NoError(t, err)
			}
			require.Greater(t, a.tend(), int64(500-read-100))
			a.trimmed()
			require.Equal(t, 1, a.said(), a.log.String())
			require.Contains(t, a.log.String(), "the group old has not read for")
			require.Contains(t, a.log.String(), "entries that it has not handled are removed")
			a.handled(500)
			a.trimmed()
			a.handled(1)
			a.tend()
			require.Equal(t, 1, a.said(), "it is said once")
			left := a.client.XLen(t.Context(), "orders").Val()

			w := &watcher{}
			s := a.join("old", w)
			require.Len(t, receive(t, s, int(left)), int(left))
			a.tend()
			a.tend()
			loss := lossOf(t, w)
			require.EqualValues(t, 1001-int64(read)-left, loss.Count, "read %d, left %d", read, left)
			require.NotEmpty(t, loss.From)
			require.NotEmpty(t, loss.To)

			a.handled(300)
			require.GreaterOrEqual(t, a.tend(), int64(300), "what the group has now is kept for it")
		})
	}
}

// How long nobody reads a group is known to all processes, and outlives the server.
func TestAbandonedGroupIsKnownAfterARestart(t *testing.T) {
	a := newAbandonment(t, time.Hour)
	require.NoError(t, a.client.XGroupCreate(t.Context(), "orders", "old", "0").Err())
	a.handled(500)
	require.EqualValues(t, 500, a.tend())
	a.leap(50 * time.Minute)
	require.EqualValues(t, 500, a.tend(), "one look counts for half of it")
	a.server.Kill()
	a.server.Restart()
	a.leap(time.Second)
	other := a.transport()
	_, err := other.Subscribe(t.Context(), a.topic, transport.Group{Name: "g"})
	require.NoError(t, err)
	for range 2 {
		other.tend(t.Context(), []string{"orders"})
	}
	require.EqualValues(t, 500, a.client.XLen(t.Context(), "orders").Val(), "nobody looked for long enough")
	a.leap(40 * time.Minute)
	other.tend(t.Context(), []string{"orders"})
	require.Less(t, a.client.XLen(t.Context(), "orders").Val(), int64(200))
	w := &watcher{}
	s := a.join("old", w)
	a.tend()
	require.EqualValues(t, 500-a.client.XLen(t.Context(), "orders").Val(), lossOf(t, w).Count)
	require.NotEmpty(t, receive(t, s, 1))
}

// leap makes the last look at quiet groups longer ago.
func (a *abandonment) leap(d time.Duration) {
	a.Helper()
	const script = `local m = cjson.decode(redis.call('GET', KEYS[1]))
for _, x in pairs(m) do x.seen = x.seen - tonumber(ARGV[1]) end
return redis.call('SET', KEYS[1], cjson.encode(m))`
	require.NoError(a.TB, a.client.Eval(a.Context(), script, []string{"{orders}:quiet"}, d.Milliseconds()).Err())
}

// A group that has a consumer is waited for, however slow it is.
func TestSlowGroupIsNotAbandoned(t *testing.T) {
	for _, name := range []string{"here", "elsewhere"} {
		t.Run(name, func(t *testing.T) {
			a := newAbandonment(t, soon)
			read := func() {
				c := &redis.XReadGroupArgs{Group: "slow", Consumer: "c", Streams: []string{"orders", ">"}, Count: 1, Block: -1}
				require.NoError(t, a.client.XReadGroup(t.Context(), c).Err())
			}
			if name == "here" {
				a.join("slow", &watcher{})
				read = func() {}
			} else {
				require.NoError(t, a.client.XGroupCreate(t.Context(), "orders", "slow", "0").Err())
			}
			a.handled(900)
			begun := time.Now()
			require.NoError(t, redistest.Eventually(10*time.Second, func(context.Context) error {
				read()
				require.EqualValues(t, 900, a.tend())
				if time.Since(begun) < 5*soon {
					return errors.New("not long enough")
				}
				return nil
			}))
			require.Zero(t, a.said())
		})
	}
}

func TestNoGroupIsGivenUpUnlessAsked(t *testing.T) {
	a := newAbandonment(t, 0)
	require.NoError(t, a.client.XGroupCreate(t.Context(), "orders", "old", "0").Err())
	a.handled(500)
	for range 20 {
		require.EqualValues(t, 500, a.tend())
	}
	require.Zero(t, a.client.Exists(t.Context(), "{orders}:quiet").Val())
}
