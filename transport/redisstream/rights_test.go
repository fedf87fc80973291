package redisstream

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// Lua has no rollback: a script that writes and then may not remove would write again each time it is called.

func rulesOf(probes []probe, more ...string) (rules []string) {
	for _, p := range probes {
		if !slices.Contains(rules, p.rule) {
			rules = append(rules, p.rule)
		}
	}
	return append(rules, more...)
}

func lackingRule(rules []string, rule string) []string {
	return slices.DeleteFunc(slices.Clone(rules), func(r string) bool { return r == rule })
}

func TestMovingNeedsTheRightToRemove(t *testing.T) {
	b := newBench(t)
	k := topicKeys("", "orders")
	rules := rulesOf(moveProbes(k), "~orders", "~{orders}:*")
	b.tr.onDelayed = nil
	for _, rule := range []string{"+zrem", "+hdel", "+xadd"} {
		t.Run(rule, func(t *testing.T) {
			require.NoError(t, b.client.FlushAll(t.Context()).Err())
			b.due(k, "a", "b")
			setUser(t, b.server, lackingRule(rules, rule)...)
			var warned []error
			tr := limited(t, b.server)
			tr.opts.Warn = func(err error) { warned = append(warned, err) }
			for range 3 {
				tr.move(t.Context(), []move{k.topicMove()})
			}
			require.Empty(t, bodies(t, b.client, "orders"), "nothing is written that cannot be removed")
			require.EqualValues(t, 2, b.client.ZCard(t.Context(), k.due).Val())
			require.EqualValues(t, 2, b.client.HLen(t.Context(), k.dueBody).Val())
			require.Len(t, warned, 1)
			require.ErrorContains(t, warned[0], "ACL SETUSER <user> "+rule)

			setUser(t, b.server, rules...)
			tr.move(t.Context(), []move{k.topicMove()})
			require.Equal(t, []string{"a", "b"}, bodies(t, b.client, "orders"))
		})
	}
}

// due stores delayed messages that are due.
func (b *bench) due(k keys, texts ...string) {
	b.Helper()
	for i, s := range texts {
		err := duePut.Run(b.Context(), b.client, []string{k.due, k.dueBody}, -1000, fmt.Sprint(i), "id", s, "data", s).Err()
		require.NoError(b, err)
	}
}

func TestReplayingAndEditingNeedTheRightToRemove(t *testing.T) {
	b := newBench(t)
	k := topicKeys("", "orders").group("g")
	rules := rulesOf(letterProbes(k.keys), "~orders", "~{orders}:*")
	for _, rule := range []string{"+zrem", "+xdel", "+xadd"} {
		t.Run(rule, func(t *testing.T) {
			require.NoError(t, b.client.FlushAll(t.Context()).Err())
			id, err := b.tr.PutLetter(t.Context(), orders, "g", aLetter(), "")
			require.NoError(t, err)
			setUser(t, b.server, lackingRule(rules, rule)...)
			tr := limited(t, b.server)
			for range 3 {
				_, err = tr.Replay(t.Context(), orders, "g", id)
				require.ErrorContains(t, err, "ACL SETUSER <user> "+rule)
				_, err = tr.PutLetter(t.Context(), orders, "g", aLetter(), id)
				require.ErrorContains(t, err, "ACL SETUSER <user> "+rule)
			}
			if rule != "+xadd" {
				_, err = tr.Discard(t.Context(), orders, "g", id)
				require.ErrorContains(t, err, "ACL SETUSER <user> "+rule)
			}
			require.Zero(t, b.client.XLen(t.Context(), k.retry).Val(), "nothing is replayed that stays a letter")
			require.EqualValues(t, 1, b.client.XLen(t.Context(), k.dead).Val())

			setUser(t, b.server, rules...)
			n, err := tr.Replay(t.Context(), orders, "g", id)
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.Zero(t, b.client.ZCard(t.Context(), k.deadPut).Val())
		})
	}
}

func aLetter() *transport.Letter {
	return &transport.Letter{Message: &transport.Message{ID: "m", Body: []byte("{}")}, Died: time.Now(), Reason: "refused"}
}

// What asks for the right to remove is a write, after which a full server refuses none of a script.
func TestAFullServerTakesNoReplayAndNoLetter(t *testing.T) {
	b := newBench(t)
	k := topicKeys("", "orders").group("g")
	id, err := b.tr.PutLetter(t.Context(), orders, "g", aLetter(), "")
	require.NoError(t, err)
	b.tr.onDelayed = nil
	b.due(k.keys, "a")
	require.NoError(t, b.client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	_, err = b.tr.Replay(t.Context(), orders, "g", id)
	require.ErrorIs(t, err, transport.ErrNoRoom)
	_, err = b.tr.PutLetter(t.Context(), orders, "g", aLetter(), id)
	require.ErrorIs(t, err, transport.ErrNoRoom)
	b.tr.move(t.Context(), []move{k.topicMove()})
	require.Zero(t, b.client.Exists(t.Context(), "orders", k.retry).Val())
	n, err := b.tr.Discard(t.Context(), orders, "g", id)
	require.NoError(t, err, "this makes room")
	require.Equal(t, 1, n)
}

// The right to acknowledge may be taken away while a consumer runs.
func TestSettlingNeedsTheRightToAcknowledge(t *testing.T) {
	b := newBench(t)
	k := topicKeys("", "orders").group("g")
	rules := consumeRules(k)
	setUser(t, b.server, append(rules, "~out")...)
	tr := limited(t, b.server)
	s := b.subscribe(tr, transport.Group{Name: "g"})
	b.publish(1)
	ds := receive(t, s, 1)
	setUser(t, b.server, append(lackingRule(rules, "+xack"), "~out")...)
	st := transport.Settlement{Delivery: ds[0], Verdict: transport.Done,
		Stage: []transport.Staged{{Topic: transport.Topic{Name: "out"}, Message: &transport.Message{ID: "m"}}}}
	for range 3 {
		require.ErrorContains(t, s.Settle(bounded(t), []transport.Settlement{st}), "+xack")
	}
	require.Zero(t, b.client.XLen(t.Context(), "out").Val(), "what is staged is stored with the acknowledgement or not at all")
	setUser(t, b.server, append(rules, "~out")...)
	require.NoError(t, s.Settle(bounded(t), []transport.Settlement{st}))
	require.EqualValues(t, 1, b.client.XLen(t.Context(), "out").Val())
}

// What another slot's event has staged is stored once, or the user is told what is missing.
func TestRelayingNeedsTheRightToMark(t *testing.T) {
	b := newBench(t)
	k, out := topicKeys("", "orders"), topicKeys("", "out")
	rules := []string{"+eval", "+evalsha", "+type", "+exists", "+set", "+xadd", "+xrange", "+xdel", "~orders", "~{orders}:*", "~out", "~{out}:*"}
	for _, rule := range []string{"+set", "+xdel", "+xadd", "~{out}:*"} {
		t.Run(rule, func(t *testing.T) {
			require.NoError(t, b.client.FlushAll(t.Context()).Err())
			values := []any{fieldTopic, "out", fieldOnce, "o", "id", "m", "data", "{}"}
			require.NoError(t, b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: k.outbox, Values: values}).Err())
			setUser(t, b.server, lackingRule(rules, rule)...)
			var warned []error
			tr := limited(t, b.server)
			tr.opts.Warn = func(err error) { warned = append(warned, err) }
			for range 3 {
				tr.relay(t.Context(), []keys{k})
			}
			require.Len(t, warned, 1)
			require.ErrorContains(t, warned[0], "ACL SETUSER <user> ")
			require.ErrorContains(t, warned[0], rule)
			require.Zero(t, b.client.XLen(t.Context(), "out").Val())
			require.EqualValues(t, 1, b.client.XLen(t.Context(), k.outbox).Val())

			setUser(t, b.server, rules...)
			tr.relay(t.Context(), []keys{k})
			require.EqualValues(t, 1, b.client.XLen(t.Context(), "out").Val())
			require.Zero(t, b.client.XLen(t.Context(), k.outbox).Val())
			left := b.client.PTTL(t.Context(), out.mark("o")).Val()
			require.LessOrEqual(t, left, markShort, "without one more right")
			require.Positive(t, left)
		})
	}
}
