package redisstream

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/transport"
)

// A reading is a group with what it has, as a model.
type reading struct {
	*subscription
	w    *watcher
	held []*transport.Delivery
	over map[string]int // what it has handled, by the message's id
}

// draws is one random life of a topic with a small bound.
type draws struct {
	*bench
	*rapid.T
	topic     transport.Topic
	published []string
	groups    []*reading
}

func (d *draws) publish() {
	var ms []*transport.Message
	for range rapid.IntRange(1, 20).Draw(d.T, "n") {
		ms = append(ms, &transport.Message{ID: fmt.Sprint(len(d.published))})
		d.published = append(d.published, ms[len(ms)-1].ID)
	}
	require.NoError(d.T, d.tr.Publish(d.bench.Context(), d.topic, ms))
}

// join comes before anything is published, so that a group is to handle all of it.
func (d *draws) join() {
	g := &reading{w: &watcher{}, over: map[string]int{}}
	s, err := d.tr.Subscribe(d.bench.Context(), d.topic, g.w.group(fmt.Sprint("g", len(d.groups)), time.Minute))
	require.NoError(d.T, err)
	g.subscription = s.(*subscription)
	d.groups = append(d.groups, g)
}

func (d *draws) one() *reading { return rapid.SampledFrom(d.groups).Draw(d.T, "group") }

func (d *draws) read(g *reading, n int) int {
	ctx, cancel := context.WithTimeout(d.bench.Context(), 5*time.Millisecond)
	defer cancel()
	ds, _ := g.Receive(ctx, n)
	g.held = append(g.held, ds...)
	return len(ds)
}

// end settles one that is held, whichever.
func (d *draws) end(g *reading, v transport.Verdict) {
	if len(g.held) == 0 {
		return
	}
	i := rapid.IntRange(0, len(g.held)-1).Draw(d.T, "which")
	x := g.held[i]
	g.held = append(g.held[:i:i], g.held[i+1:]...)
	require.NoError(d.T, g.Settle(d.bench.Context(), []transport.Settlement{{Delivery: x, Verdict: v}}))
	if v == transport.Done {
		g.over[x.ID]++
	}
}

// kept: what a group has not acknowledged is there.
func (d *draws) kept() {
	d.tr.tend(d.bench.Context(), []string{d.topic.Name})
	there := map[string]bool{}
	for _, e := range d.client.XRange(d.bench.Context(), d.topic.Name, "-", "+").Val() {
		there[e.ID] = true
	}
	for _, g := range d.groups {
		for _, p := range d.client.XPendingExt(d.bench.Context(), &redis.XPendingExtArgs{Stream: d.topic.Name, Group: g.group.Name, Start: "-", End: "+", Count: 1000}).Val() {
			require.True(d.T, there[p.ID], "%s is pending for %s and gone", p.ID, g.group.Name)
		}
		for _, err := range g.w.warns {
			require.ErrorContains(d.T, err, "the group gone has not read")
		}
	}
}

// drain has a group handle all that there is for it.
func (d *draws) drain(g *reading) {
	for d.read(g, 100) > 0 || len(g.held) > 0 {
		for len(g.held) > 0 {
			d.end(g, transport.Done)
		}
	}
	for _, id := range d.published {
		require.Equal(d.T, 1, g.over[id], "%s: how often %s was handled", g.group.Name, id)
	}
}

func TestSoftRetentionKeepsWhatIsNotAcknowledged(t *testing.T) {
	b := newBench(t, "--stream-node-max-entries", "3") // trims are exact up to a node
	lives := 0
	rapid.Check(t, func(rt *rapid.T) {
		lives++
		keep := rapid.SampledFrom([]transport.Retention{{MaxLen: 1}, {MaxLen: 20}, {MaxAge: time.Millisecond}}).Draw(rt, "keep")
		if rapid.Bool().Draw(rt, "abandon") { // nobody reads gone, which is all that AbandonAfter may pass
			keep.AbandonAfter = 20 * time.Millisecond
		}
		d := &draws{bench: b, T: rt, topic: transport.Topic{Name: fmt.Sprint("t", lives), Retention: keep}}
		for range rapid.IntRange(1, 3).Draw(rt, "groups") {
			d.join()
		}
		if keep.AbandonAfter > 0 {
			require.NoError(rt, b.client.XGroupCreateMkStream(b.Context(), d.topic.Name, "gone", "0").Err())
		}
		for range 25 {
			switch rapid.IntRange(0, 7).Draw(rt, "step") {
			case 0, 1:
				d.publish()
			case 2, 3:
				d.read(d.one(), rapid.IntRange(1, 10).Draw(rt, "limit"))
			case 4, 5:
				d.end(d.one(), transport.Done)
			case 6:
				d.end(d.one(), rapid.SampledFrom([]transport.Verdict{transport.Failed, transport.Deferred}).Draw(rt, "verdict"))
			case 7:
				d.kept()
			}
		}
		for _, g := range d.groups {
			d.kept()
			d.drain(g)
		}
		for range 50 {
			if d.kept(); keep.AbandonAfter == 0 || b.client.XLen(b.Context(), d.topic.Name).Val() <= 20 {
				break
			}
			<-time.After(time.Millisecond)
		}
		require.LessOrEqual(rt, b.client.XLen(b.Context(), d.topic.Name).Val(), int64(20+2*3), "it is trimmed in the end")
		for _, g := range d.groups {
			require.NoError(rt, g.Close(b.Context()))
		}
	})
}
