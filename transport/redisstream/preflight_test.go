package redisstream

import (
	"context"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// consumeRules are what a consumer needs, as its operator would write them.
func consumeRules(k groupKeys) (rules []string) {
	for _, p := range consumeProbes(k) {
		if !slices.Contains(rules, p.rule) {
			rules = append(rules, p.rule)
		}
	}
	return append(rules, "~"+k.stream, "~"+k.tag+"*")
}

// claimRules are what claims need.
func claimRules(k keys) (rules []string) {
	for _, p := range claimProbes(k) {
		rules = append(rules, p.rule)
	}
	return append(rules, "~"+k.tag+"*")
}

// setUser gives the user "limited" exactly these rules.
func setUser(t testing.TB, s *redistest.Server, rules ...string) {
	t.Helper()
	args := append([]any{"acl", "setuser", "limited", "reset", "on", ">hunter2"}, anys(rules)...)
	require.NoError(t, s.Client().Do(t.Context(), args...).Err())
}

func anys(ss []string) (as []any) {
	for _, s := range ss {
		as = append(as, s)
	}
	return as
}

func limited(t testing.TB, s *redistest.Server) *Transport {
	c := redis.NewClient(&redis.Options{Addr: s.Addr, Username: "limited", Password: "hunter2", DisableIdentity: true})
	tr := New(c, Options{})
	t.Cleanup(func() {
		tr.Close()
		c.Close()
	})
	return tr
}

func TestEveryMissingRuleIsNamed(t *testing.T) {
	s := redistest.Start(t)
	k := topicKeys("", "orders.placed").group("billing")
	rules := consumeRules(k)
	setUser(t, s, rules...)
	require.NoError(t, limited(t, s).preflightConsumer(bounded(t), "orders.placed", "billing"))
	require.Empty(t, s.Client().Keys(t.Context(), "*").Val(), "probes leave nothing")

	for _, rule := range rules {
		setUser(t, s, slices.DeleteFunc(slices.Clone(rules), func(r string) bool { return r == rule })...)
		err := limited(t, s).preflightConsumer(bounded(t), "orders.placed", "billing")
		require.Error(t, err, "without %s", rule)
		require.Regexp(t, `^redisstream: subscribe to orders\.placed: the user lacks rights: ACL SETUSER <user> .*`+regexp.QuoteMeta(rule), err.Error())
		if rule[0] == '+' {
			require.Equal(t, 1, strings.Count(err.Error(), "+"), "only %s is missing: %v", rule, err)
		}
	}
	setUser(t, s)
	err := limited(t, s).preflightConsumer(bounded(t), "orders.placed", "billing")
	for _, rule := range rules {
		if rule[0] == '+' {
			require.ErrorContains(t, err, rule)
		}
	}
}

func TestProbesDoNothingToWhatIsThere(t *testing.T) {
	b := newBench(t)
	s := b.subscribe(b.tr, transport.Group{Name: "billing"})
	b.publish(3)
	receive(t, s, 3)
	before := dumpAll(t, b.client)
	k := topicKeys("", "orders").group("billing")
	for _, p := range append(consumeProbes(k), claimProbes(k.keys)...) {
		b.client.Do(t.Context(), p.args...)
	}
	require.Equal(t, before, dumpAll(t, b.client))
}

// dumpAll is everything in Redis, apart from when a pending entry was delivered.
func dumpAll(t testing.TB, c *redis.Client) (all []string) {
	t.Helper()
	for _, k := range c.Keys(t.Context(), "*").Val() {
		all = append(all, k, c.Type(t.Context(), k).Val(), c.MemoryUsage(t.Context(), k).String())
		for _, g := range c.XInfoGroups(t.Context(), k).Val() {
			all = append(all, g.Name, g.LastDeliveredID)
			for _, p := range c.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: k, Group: g.Name, Start: "-", End: "+", Count: 100}).Val() {
				all = append(all, p.ID, p.Consumer)
			}
		}
		for _, e := range c.XRange(t.Context(), k, "-", "+").Val() {
			all = append(all, e.ID)
		}
	}
	slices.Sort(all)
	return all
}

func TestEveryCommandOfTheScriptsIsProbed(t *testing.T) {
	consume, claim := consumeRules(topicKeys("", "x").group("g")), claimRules(topicKeys("", "x"))
	claims := []string{"scripts/begin.lua", "scripts/keep.lua", "scripts/release.lua"}
	call := regexp.MustCompile(`redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?`)
	files, err := fs.Glob(scriptFiles, "scripts/*.lua")
	require.NoError(t, err)
	seen := 0
	for _, f := range files {
		src, err := fs.ReadFile(scriptFiles, f)
		require.NoError(t, err)
		rules := consume
		if slices.Contains(claims, f) {
			rules = claim
		} else {
			src = append(src, duePutSource...)
		}
		for _, m := range call.FindAllStringSubmatch(string(src), -1) {
			rule := "+" + strings.ToLower(m[1])
			if m[1] == "XGROUP" || m[1] == "XINFO" {
				rule += "|" + strings.ToLower(m[2])
			}
			require.Contains(t, rules, rule, f)
			seen++
		}
	}
	require.NotZero(t, seen)
}

// TestMinimalRights runs all that a consumer does as a user with the documented rules and no other.
func TestMinimalRights(t *testing.T) {
	s := redistest.Start(t)
	setUser(t, s, consumeRules(topicKeys("", "orders").group("billing"))...)
	tr := limited(t, s)
	ctx := bounded(t)
	sub, err := tr.Subscribe(ctx, orders, transport.Group{Name: "billing", Letters: transport.LetterBound{MaxLen: 100, MaxAge: time.Hour},
		Warn: func(err error) { t.Errorf("warned: %v", err) }})
	require.NoError(t, err)
	ms := append(text2msg("a", "b", "c", "d"), delayedMsg("e", 50*time.Millisecond)...)
	require.NoError(t, tr.Publish(ctx, orders, ms))
	verdicts := []transport.Verdict{transport.Done, transport.Failed, transport.Deferred, transport.Dead, transport.Done}
	for done := 0; done < 7; { // two come twice
		ds, err := sub.Receive(ctx, 10)
		require.NoError(t, err)
		for _, d := range ds {
			v := transport.Done
			if d.Attempt == 1 && done < len(verdicts) {
				v = verdicts[done]
			}
			done++
			set := transport.Settlement{Delivery: d, Verdict: v, After: time.Millisecond}
			if v == transport.Done {
				set.Stage = []transport.Staged{{Topic: orders2, Message: text2msg("staged")[0]}}
				set.Stage = nil
			}
			require.NoError(t, sub.Settle(ctx, []transport.Settlement{set}))
		}
	}
	_, err = tr.Lag(ctx, orders, "billing")
	require.NoError(t, err)
	ls, err := tr.Letters(ctx, orders, "billing", "", 1)
	require.NoError(t, err)
	id, err := tr.PutLetter(ctx, orders, "billing", ls[0], ls[0].LetterID)
	require.NoError(t, err)
	other, err := tr.PutLetter(ctx, orders, "billing", ls[0], "")
	require.NoError(t, err)
	_, err = tr.Letter(ctx, orders, "billing", id)
	require.NoError(t, err)
	_, err = tr.Replay(ctx, orders, "billing", id)
	require.NoError(t, err)
	_, err = tr.Discard(ctx, orders, "billing", other)
	require.NoError(t, err)
	require.NoError(t, tr.RecordAct(ctx, orders, "billing", transport.Act{What: "edit"}))
	_, err = tr.Acts(ctx, orders, "billing", "", 10)
	require.NoError(t, err)
	tr.survey(ctx, []*subscription{sub.(*subscription)})
	require.NoError(t, sub.Close(ctx))

	log, err := s.Client().ACLLog(t.Context(), 100).Result()
	require.NoError(t, err)
	for _, e := range log {
		require.Contains(t, []string{"ping", "info", "client|maint_notifications"}, e.Object, "%+v", e)
	}
}

var orders2 = transport.Topic{Name: "orders2"}

func TestProducersNeedOnlyXADD(t *testing.T) {
	s := redistest.Start(t)
	setUser(t, s, "+xadd", "~orders.*")
	tr := limited(t, s)
	require.NoError(t, tr.Publish(bounded(t), orders1, text2msg("x")))
	err := tr.Publish(bounded(t), transport.Topic{Name: "other"}, text2msg("hunter2"))
	require.ErrorContains(t, err, "redisstream: publish other: the user lacks rights: ACL SETUSER <user> ~other ~{other}:*")
	err = tr.Publish(bounded(t), orders1, delayedMsg("x", time.Hour))
	require.ErrorContains(t, err, "ACL SETUSER <user> +eval +evalsha +time +hset +hdel +zadd")
	require.Equal(t, []transport.Outcome{notStored}, outcomesOf(t, err))

	setUser(t, s, "+xadd", "+eval", "+evalsha", "+time", "+hdel", "+zadd", "~orders.*", "~{orders.*")
	err = tr.Publish(bounded(t), orders1, delayedMsg("x", time.Hour))
	require.ErrorContains(t, err, "ACL SETUSER <user> +hset")
	setUser(t, s, "+xadd", "+eval", "+evalsha", "+time", "+hdel", "+hset", "+zadd", "~orders.*", "~{orders.*")
	require.NoError(t, tr.Publish(bounded(t), orders1, delayedMsg("x", time.Hour)))

	setUser(t, s, "~*")
	err = tr.Publish(bounded(t), orders1, text2msg("x"))
	require.ErrorContains(t, err, "ACL SETUSER <user> +xadd")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestPreflightTakesOneRoundTripOnce(t *testing.T) {
	s := redistest.Start(t)
	p := redistest.NewProxy(t, s.Addr)
	tr := producing(t, p.Addr, 0)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { assert.NoError(t, tr.preflightConsumer(bounded(t), "orders", "g")) })
	}
	wg.Wait()
	var mu sync.Mutex
	requests := 0
	p.OnRequest(func([]byte) {
		mu.Lock()
		defer mu.Unlock()
		requests++
	})
	require.NoError(t, tr.preflightConsumer(bounded(t), "orders", "g"))
	require.Zero(t, requests)
	require.NoError(t, tr.preflightConsumer(bounded(t), "orders", "h"))
	require.Equal(t, 1, requests, "another group, on a connection that is there")
}

func TestPreflightIsTriedAgainAfterAFailure(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 0)
	s.Kill()
	require.Error(t, tr.preflightConsumer(bounded(t), "orders", "g"))
	require.Error(t, tr.Publish(bounded(t), orders, text2msg("x")))
	s.Restart()
	require.NoError(t, redistest.Eventually(5*time.Second, func(ctx context.Context) error {
		return tr.preflightConsumer(ctx, "orders", "g")
	}))
	require.NoError(t, tr.Publish(bounded(t), orders, text2msg("x")))
}
