package memory_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// TestRandomSchedules compares the transport with a model that is nothing but a table: what became of each message in each
// group. Steps are drawn at random, and time is virtual.
func TestRandomSchedules(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func(ctx context.Context) {
			m := newModel(rt, ctx)
			defer m.tr.Close()
			rt.Repeat(map[string]func(*rapid.T){
				"publish": m.publish, "delay": m.publishLater, "receive": m.receive, "settle": m.settle, "late": m.settleLate,
				"close": m.close, "crash": m.crash, "stall": m.stall, "resume": m.resume, "wait": m.wait, "replay": m.replay,
				"discard": m.discard, "put": m.put, "edit": m.edit, "record": m.record, "": m.check, "receive more": m.receive, "settle more": m.settle, "and more": m.settle,
			})
			m.drain()
		})
	})
}

// inBubble runs f in a bubble, and hands on what it panics with, which is how rapid ends a step.
func inBubble(t *testing.T, f func(ctx context.Context)) {
	var p any
	synctest.Test(t, func(t *testing.T) {
		defer func() { p = recover() }()
		f(t.Context())
	})
	if p != nil {
		panic(p)
	}
}

const lease = 30 * time.Second

// A fate is what the model knows of a message in a group.
type fate struct {
	state       string // ready, leased, done, dead
	from        time.Time
	attempt     int
	redelivered int
	replays     int
	body        string
	holder      *actor
	letter      string
	died        time.Time
}

// An actor is a consumer.
type actor struct {
	sub    transport.Subscription
	group  string
	held   map[string]*transport.Delivery
	late   map[string]*transport.Delivery // lost
	muted  time.Time                      // when it crashed or stalled; its leases end one lease later
	dead   bool
	resume func()
}

type model struct {
	*rapid.T
	ctx    context.Context
	tr     *memory.Transport
	topic  transport.Topic
	groups []string
	fates  map[string]map[string]*fate // by group and message
	dead   map[string][]string         // messages by group, the oldest letter first
	acts   map[string][]string         // details by group
	actors []*actor
	sent   int

	dropped map[string]int64         // letters, by group
	told    map[string]*atomic.Int64 // of those, what was reported
}

func newModel(rt *rapid.T, ctx context.Context) *model {
	m := &model{T: rt, ctx: ctx, tr: memory.New(), topic: transport.Topic{Name: "t"}, groups: []string{"g1", "g2"}}
	m.fates = map[string]map[string]*fate{}
	m.dead, m.acts = map[string][]string{}, map[string][]string{}
	m.dropped, m.told = map[string]int64{}, map[string]*atomic.Int64{}
	for _, g := range m.groups {
		m.fates[g], m.told[g] = map[string]*fate{}, &atomic.Int64{}
		m.join(g)
	}
	return m
}

func (m *model) join(group string) *actor {
	sub, err := m.tr.Subscribe(m.ctx, m.topic, transport.Group{
		Name: group, Lease: lease, Letters: bound,
		Warn: func(err error) {
			if loss := (*transport.LossError)(nil); errors.As(err, &loss) {
				m.told[group].Add(loss.Count)
			}
		},
	})
	require.NoError(m, err)
	a := &actor{sub: sub, group: group, held: map[string]*transport.Delivery{}, late: map[string]*transport.Delivery{}}
	m.actors = append(m.actors, a)
	return a
}

func (m *model) send(rt *rapid.T, delay time.Duration) {
	var ms []*transport.Message
	for range rapid.IntRange(1, 5).Draw(rt, "n") {
		m.sent++
		id := fmt.Sprintf("m%03d", m.sent)
		msg := &transport.Message{ID: id, Body: []byte(id)}
		from := time.Now()
		if delay > 0 {
			from = from.Add(delay)
			msg.NotBefore = from
		}
		ms = append(ms, msg)
		for _, g := range m.groups {
			m.fates[g][id] = &fate{state: "ready", from: from, attempt: 1, body: id}
		}
	}
	require.NoError(rt, m.tr.Publish(m.ctx, m.topic, ms))
}

func (m *model) publish(rt *rapid.T) { m.send(rt, 0) }

func (m *model) publishLater(rt *rapid.T) {
	m.send(rt, time.Duration(rapid.IntRange(1, 60).Draw(rt, "seconds"))*time.Second)
}

// pick draws an actor that is alive.
func (m *model) pick(rt *rapid.T) *actor {
	alive := slices.DeleteFunc(slices.Clone(m.actors), func(a *actor) bool { return a.dead })
	if len(alive) < 3 {
		alive = append(alive, m.join(rapid.SampledFrom(m.groups).Draw(rt, "group")))
	}
	return rapid.SampledFrom(alive).Draw(rt, "actor")
}

func (m *model) receive(rt *rapid.T) {
	a, limit := m.pick(rt), rapid.IntRange(1, 6).Draw(rt, "limit")
	now := time.Now()
	ready := 0
	for _, f := range m.fates[a.group] {
		if f.state == "ready" && !f.from.After(now) {
			ready++
		}
	}
	if !a.muted.IsZero() {
		ready = 0
	}
	ctx, cancel := context.WithTimeout(m.ctx, time.Nanosecond)
	defer cancel()
	ds, err := a.sub.Receive(ctx, limit)
	require.Len(rt, ds, min(ready, limit), "%v", err)
	for _, d := range ds {
		f := m.fates[a.group][d.ID]
		require.Equal(rt, "ready", f.state, "%s", d.ID)
		require.False(rt, f.from.After(now), "%s came too early", d.ID)
		require.Equal(rt, [3]int{f.attempt, f.redelivered, f.replays}, [3]int{d.Attempt, d.Redelivered, d.Replays}, "%s", d.ID)
		require.Equal(rt, f.body, string(d.Body))
		f.state, f.holder = "leased", a
		a.held[d.ID] = d
		copy(d.Body, "XXXX")
	}
}

// draw picks one delivery of a set.
func draw(rt *rapid.T, held map[string]*transport.Delivery) *transport.Delivery {
	return held[rapid.SampledFrom(slices.Sorted(maps.Keys(held))).Draw(rt, "delivery")]
}

func (m *model) settlement(rt *rapid.T, d *transport.Delivery) transport.Settlement {
	st := transport.Settlement{Delivery: d, Verdict: transport.Verdict(rapid.IntRange(1, 4).Draw(rt, "verdict")), Reason: "permanent"}
	if st.Verdict == transport.Failed || st.Verdict == transport.Deferred {
		st.After = time.Duration(rapid.SampledFrom([]int{0, 0, 1, 5, 40}).Draw(rt, "after")) * time.Second
	}
	return st
}

func (m *model) settle(rt *rapid.T) {
	a := m.pick(rt)
	if len(a.held) == 0 {
		rt.Skip()
	}
	st := m.settlement(rt, draw(rt, a.held))
	require.NoError(rt, a.sub.Settle(m.ctx, []transport.Settlement{st, st}))
	delete(a.held, st.ID)
	f := m.fates[a.group][st.ID]
	if f.holder != a || f.state != "leased" {
		return // a late Done of another had ended it
	}
	f.holder = nil
	switch st.Verdict {
	case transport.Done:
		f.state = "done"
	case transport.Dead:
		f.state, f.died = "dead", time.Now()
		m.dead[a.group] = append(m.dead[a.group], st.ID)
	case transport.Failed:
		f.attempt++
		fallthrough
	case transport.Deferred:
		f.state, f.from = "ready", time.Now().Add(st.After)
	}
}

func (m *model) settleLate(rt *rapid.T) {
	a := m.pick(rt)
	if len(a.late) == 0 {
		rt.Skip()
	}
	st := m.settlement(rt, draw(rt, a.late))
	err := a.sub.Settle(m.ctx, []transport.Settlement{st})
	if st.Verdict != transport.Done {
		require.ErrorIs(rt, err, transport.ErrLeaseLost)
		return
	}
	require.NoError(rt, err)
	if f := m.fates[a.group][st.ID]; f.state != "dead" {
		f.state = "done"
	}
}

// release is what Close does, or the end of the leases of a muted consumer.
func (m *model) release(a *actor, redelivered int) {
	for id := range a.held {
		if f := m.fates[a.group][id]; f.holder == a && f.state == "leased" {
			f.state, f.from, f.holder = "ready", time.Now(), nil
			f.redelivered += redelivered
		}
	}
	maps.Copy(a.late, a.held)
	clear(a.held)
}

func (m *model) close(rt *rapid.T) {
	a := m.pick(rt)
	require.NoError(rt, a.sub.Close(m.ctx))
	a.dead = true
	m.release(a, 0)
}

func (m *model) crash(rt *rapid.T) {
	a := m.pick(rt)
	m.tr.Crash(a.sub)
	a.dead = true
	if a.muted.IsZero() {
		a.muted = time.Now()
	}
}

func (m *model) stall(rt *rapid.T) {
	a := m.pick(rt)
	if !a.muted.IsZero() {
		rt.Skip()
	}
	a.muted, a.resume = time.Now(), m.tr.Stall(a.sub)
}

func (m *model) resume(rt *rapid.T) {
	a := m.pick(rt)
	if a.resume == nil {
		rt.Skip()
	}
	a.resume()
	a.muted, a.resume = time.Time{}, nil
}

func (m *model) wait(rt *rapid.T) {
	d := time.Duration(rapid.IntRange(1, 50).Draw(rt, "seconds")) * time.Second
	m.sleep(d)
	if d >= 10*time.Second {
		m.bounded(rt)
	}
}

// sleep passes the time second by second, since what happens meanwhile has an order.
func (m *model) sleep(d time.Duration) {
	for range d / time.Second {
		time.Sleep(time.Second)
		synctest.Wait()
		for _, a := range m.actors {
			if !a.muted.IsZero() && time.Since(a.muted) >= lease {
				m.release(a, 1)
			}
		}
	}
}

// check compares the numbers. It takes a nanosecond, so that no two timers end at the same moment, in an order that
// nobody knows.
func (m *model) check(rt *rapid.T) {
	time.Sleep(time.Nanosecond)
	synctest.Wait()
	for _, g := range m.groups {
		var pending int64
		for _, f := range m.fates[g] {
			if f.state == "leased" {
				pending++
			}
		}
		require.GreaterOrEqual(rt, m.lag(rt, g).Pending, pending) // released ones are pending too
	}
}

// drain has everything handled, and sees that nothing is missing.
func (m *model) drain() {
	m.sleep(2 * time.Minute)
	for _, a := range m.actors {
		if a.resume != nil {
			a.resume()
		}
		require.NoError(m, a.sub.Close(m.ctx))
		m.release(a, 0)
	}
	for _, g := range m.groups {
		a := m.join(g)
		for _, f := range m.fates[g] {
			if f.state == "ready" {
				f.state = "missing"
			}
		}
		for {
			ctx, cancel := context.WithTimeout(m.ctx, time.Hour)
			ds, err := a.sub.Receive(ctx, 7)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				break
			}
			require.NoError(m, err)
			for _, d := range ds {
				require.Equal(m, "missing", m.fates[g][d.ID].state, "%s came, and should not", d.ID)
				m.fates[g][d.ID].state = "done"
				require.NoError(m, a.sub.Settle(m.ctx, []transport.Settlement{{Delivery: d, Verdict: transport.Done}}))
			}
		}
		for id, f := range m.fates[g] {
			require.NotEqual(m, "missing", f.state, "group %s lost %s", g, id)
		}
		lag := m.lag(m.T, g)
		require.Equal(m, transport.Lag{LettersDropped: lag.LettersDropped}, lag, "all letters are too old by now")
	}
}
