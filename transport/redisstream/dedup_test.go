package redisstream

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

var once1 = transport.Topic{Name: "orders.placed", Dedup: time.Minute}

// A dedupLoad is many publishers of a topic with Dedup.
type dedupLoad struct {
	bus   *bus.Bus
	topic *bus.Topic[string]
	wg    sync.WaitGroup
}

const (
	dedupCallers = 64
	dedupCalls   = 8
	dedupBatch   = 10
	dedupEvents  = dedupCallers * dedupCalls / 2 * (1 + dedupBatch)
)

// start has publishers publish single events and batches, half of each. Each call must return nil.
func (l *dedupLoad) start(t *testing.T) {
	for i := range dedupCallers {
		l.wg.Go(func() {
			for j := range dedupCalls {
				name := strconv.Itoa(i) + "." + strconv.Itoa(j)
				if j%2 == 0 {
					assert.NoError(t, l.topic.Publish(t.Context(), l.bus, name))
					continue
				}
				var vs []string
				for k := range dedupBatch {
					vs = append(vs, name+"."+strconv.Itoa(k))
				}
				assert.NoError(t, l.topic.PublishAll(t.Context(), l.bus, vs))
			}
		})
	}
}

func newDedupLoad(tr transport.Transport) *dedupLoad {
	return &dedupLoad{bus: bus.New(tr), topic: bus.NewTopic("orders.placed", codec.JSON[string](), bus.Dedup(time.Minute))}
}

// requireOnce sees that each event of a load is there once.
func requireOnce(t *testing.T, c *redis.Client) {
	t.Helper()
	seen := map[string]bool{}
	for _, b := range bodies(t, c, "orders.placed") {
		seen[b] = true
	}
	require.Equal(t, dedupEvents, len(seen), "distinct events")
	require.EqualValues(t, dedupEvents, c.XLen(t.Context(), "orders.placed").Val(), "XLEN == distinct events")
}

func TestDedupWithLostAnswers(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr)
	tr := producing(t, p.Addr, time.Second)
	warm(t, tr, s)
	k := 0
	p.Lose(func(b []byte) bool {
		if !bytes.Contains(b, []byte("evalsha")) {
			return false
		}
		k++
		return k%3 == 0
	})
	l := newDedupLoad(tr)
	l.start(t)
	l.wg.Wait()
	p.Lose(nil)
	require.NotZero(t, p.Lost())
	requireOnce(t, s.Client())
}

// Requests that are held back arrive after those that repeat them.
func TestDedupWithAStalledServer(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 200*time.Millisecond)
	warm(t, tr, s)
	l := newDedupLoad(tr)
	s.Pause()
	resume := time.AfterFunc(900*time.Millisecond, s.Resume)
	defer resume.Stop()
	l.start(t)
	l.wg.Wait()
	requireOnce(t, s.Client())
}

func TestDedupWhileScriptsAreForgotten(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 0)
	warm(t, tr, s)
	flushing, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	c := s.Client()
	wg.Go(func() {
		for flushing.Err() == nil {
			c.ScriptFlush(flushing)
		}
	})
	l := newDedupLoad(tr)
	l.start(t)
	l.wg.Wait()
	stop()
	wg.Wait()
	requireOnce(t, s.Client())
}

func TestDedupKeepsTheHardBound(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 0)
	topic := once1
	topic.Retention = transport.Retention{MaxLen: 100, MaxAge: time.Hour, Hard: true}
	for range 5 {
		require.NoError(t, tr.Publish(bounded(t), topic, text2msg(make([]string, 900)...)))
	}
	require.Less(t, s.Client().XLen(t.Context(), "orders.placed").Val(), int64(500))
}

func TestDedupMarksEnd(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 0)
	require.NoError(t, tr.Publish(bounded(t), once1, append(text2msg("a"), delayedMsg("b", time.Hour)...)))
	c, n := s.Client(), 0
	for _, k := range c.Keys(t.Context(), "{orders.placed}::id:*").Val() {
		left := c.PTTL(t.Context(), k).Val()
		require.Greater(t, left, 50*time.Second)
		require.LessOrEqual(t, left, time.Minute)
		n++
	}
	require.Equal(t, 2, n)
}

// What is refused leaves no mark: it may be published again.
func TestDedupRefusedIsNotKnown(t *testing.T) {
	s := redistest.Start(t)
	c, tr := s.Client(), producing(t, s.Addr, 0)
	now, later := text2msg("a"), delayedMsg("b", time.Hour)
	stuff := map[string][]*transport.Message{"orders.placed": now, "{orders.placed}:due": later}
	for key, ms := range stuff {
		require.NoError(t, c.Set(t.Context(), key, "secret", 0).Err())
		for range 2 {
			err := tr.Publish(bounded(t), once1, ms)
			require.Equal(t, []transport.Outcome{notStored}, outcomesOf(t, err))
			require.ErrorContains(t, err, "orders.placed")
		}
		require.NoError(t, c.Del(t.Context(), key).Err())
		require.Zero(t, c.Exists(t.Context(), topicKeys("", "orders.placed").known(ms[0].ID)).Val())
		require.NoError(t, tr.Publish(bounded(t), once1, ms))
	}
	require.EqualValues(t, 1, c.XLen(t.Context(), "orders.placed").Val())
	require.EqualValues(t, 1, c.ZCard(t.Context(), "{orders.placed}:due").Val())
}

func TestFullServerAndDedup(t *testing.T) {
	s := redistest.Start(t)
	c, tr := s.Client(), producing(t, s.Addr, 0)
	before, during, later := text2msg("a"), text2msg("b"), delayedMsg("c", time.Hour)
	require.NoError(t, tr.Publish(bounded(t), once1, before))
	require.NoError(t, c.ConfigSet(t.Context(), "maxmemory", "1").Err())
	for _, ms := range [][]*transport.Message{during, later} {
		err := tr.Publish(bounded(t), once1, ms)
		require.ErrorIs(t, err, transport.ErrNoRoom)
		require.ErrorContains(t, err, "Redis has reached its maxmemory and stores nothing more: raise it")
		require.Equal(t, []transport.Outcome{notStored}, outcomesOf(t, err))
	}
	require.NoError(t, tr.Publish(bounded(t), once1, before), "it is stored, whether there is room or not")
	err := tr.Publish(bounded(t), once1, []*transport.Message{before[0], during[0]})
	require.Equal(t, []transport.Outcome{stored, notStored}, outcomesOf(t, err))
	require.NoError(t, c.ConfigSet(t.Context(), "maxmemory", "0").Err())
	require.NoError(t, tr.Publish(bounded(t), once1, append(during, later...)))
	require.Equal(t, []string{"a", "b"}, bodies(t, c, "orders.placed"))
}

// A server that fills up in the middle of a call: the outcome of each message is what is there.
func TestServerThatFillsUp(t *testing.T) {
	for name, topic := range map[string]transport.Topic{"plain": orders1, "dedup": once1} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			c, tr := s.Client(), producing(t, s.Addr, 0)
			warm(t, tr, s)
			used := redisMemory(t, c)
			require.NoError(t, c.ConfigSet(t.Context(), "maxmemory", strconv.Itoa(used+4<<20)).Err())
			ms := text2msg(make([]string, 900)...)
			for i, m := range ms {
				m.Body = append(bytes.Repeat([]byte("x"), 1000), strconv.Itoa(i)...)
			}
			there := map[string]bool{}
			for round := 0; ; round++ {
				require.Less(t, round, 50)
				for _, m := range ms {
					m.ID = transport.NewID()
				}
				if err := tr.Publish(bounded(t), topic, ms); err != nil {
					require.ErrorIs(t, err, transport.ErrNoRoom)
					require.NotErrorIs(t, err, transport.ErrPublishUnknown)
					for i, e := range outcomesOf(t, err) {
						there[ms[i].ID] = e == stored
					}
					break
				}
			}
			require.NoError(t, c.ConfigSet(t.Context(), "maxmemory", "0").Err())
			es := c.XRange(t.Context(), "orders.placed", "-", "+").Val()
			for _, e := range es {
				id := e.Values["id"].(string)
				if is, ok := there[id]; ok {
					require.True(t, is, "called not stored, and it is there")
					delete(there, id)
				}
			}
			for _, is := range there {
				require.False(t, is, "called stored, and it is not there")
			}
		})
	}
}

func redisMemory(t *testing.T, c *redis.Client) int {
	n, err := strconv.Atoi(infoField(c.Info(t.Context(), "memory").Val(), "used_memory"))
	require.NoError(t, err)
	return n
}

func TestDedupRights(t *testing.T) {
	s := redistest.Start(t)
	rules := []string{"+xadd", "~orders.placed", "~{orders.placed}:*", "+eval", "+evalsha", "+exists", "+set"}
	for i := -1; i < len(rules); i++ {
		some := append([]string{}, rules...)
		if i >= 0 {
			some = append(some[:i], some[i+1:]...)
		}
		setUser(t, s, some...)
		err := limited(t, s).Publish(bounded(t), once1, text2msg("a"))
		if i < 0 {
			require.NoError(t, err)
			continue
		}
		if rules[i] == "+eval" && err == nil {
			continue // the server knows the script
		}
		require.ErrorContains(t, err, rules[i])
		require.Equal(t, []transport.Outcome{notStored}, outcomesOf(t, err))
	}
	require.EqualValues(t, 2, s.Client().XLen(t.Context(), "orders.placed").Val())
}
