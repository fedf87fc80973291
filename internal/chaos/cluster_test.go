package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/chaos/record"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// moveSlot moves the slot of the topic, with all its keys, to the next node. Part of the way it stands still, as it does where there
// is much to move.
func moveSlot(r *run) {
	const text = "a slot moves"
	r.inject(history.Fault, "cluster", text)
	m := r.cluster.BeginMove(child.Jobs.Name())
	for _, n := range []int{1, 2, 1 << 30} {
		r.pause(time.Duration(r.rand.IntN(200)) * time.Millisecond)
		m.Keys(n)
	}
	r.pause(time.Duration(r.rand.IntN(200)) * time.Millisecond)
	m.End()
	r.heal("cluster", text)
}

// probing publishes events of its own while others befall the run, and looks at what publishers are told: processes repeat what is
// not stored, and say nothing of that.
func probing(others fault) fault {
	return func(r *run) {
		p := prober{run: r, over: make(chan struct{})}
		var probes sync.WaitGroup
		for i := range 4 {
			probes.Go(func() { p.probe(i) })
		}
		defer func() {
			close(p.over)
			probes.Wait()
			tried, failed := p.tried.Load(), p.failed.Load()
			assert.LessOrEqual(r, 1000*failed, tried, "publishes that failed")
			r.note("%d of %d publishes failed, the longest took %v", failed, tried, time.Duration(p.longest.Load()).Round(time.Millisecond))
		}()
		others(r)
	}
}

type prober struct {
	*run
	over                   chan struct{}
	tried, failed, longest atomic.Int64
}

// probe publishes one event after the other, every other one delayed.
func (p *prober) probe(worker int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-p.over:
			return
		case <-tick.C:
		}
		m := &transport.Message{ID: fmt.Sprintf("probe-%d-%d", worker, n), ContentType: "application/json", Body: []byte("{}")}
		if p.publishing.Delay > 0 && n%2 == 1 {
			m.NotBefore = time.Now().Add(p.publishing.Delay / 2)
		}
		p.publish(m)
	}
}

// topic is that of the events, as their publisher publishes to it.
func (p *prober) topic() transport.Topic {
	return transport.Topic{Name: child.Jobs.Name(), Retention: transport.Retention{MaxLen: -1}, Dedup: p.publishing.Dedup}
}

func (p *prober) publish(m *transport.Message) {
	p.log.Log(history.Record{What: history.Publishing, ID: m.ID})
	began := time.Now()
	err := p.tr.Publish(p.Context(), p.topic(), []*transport.Message{m})
	what, text := record.Outcome(err, 0)
	p.log.Log(history.Record{What: what, ID: m.ID, Text: text})
	p.tried.Add(1)
	if took := int64(time.Since(began)); took > p.longest.Load() {
		p.longest.Store(took)
	}
	if err != nil {
		p.failed.Add(1)
		assert.Equal(p, history.NotPublished, what, "the only error is that an event is not stored: %v", err)
	}
}

// undisturbed: no handler hears of the faults.
func undisturbed(r *run) {
	for _, h := range r.history {
		switch h.What {
		case history.Ended, history.Refused, history.Loss:
			assert.Fail(r, "a handler or its bus was disturbed", "%+v", h)
		}
	}
}

// killMaster kills the master of the topic. Once its replica has taken over it starts it again; it is a replica then.
func killMaster(r *run) {
	const text = "data loss: kill -9 of the master"
	var nodes []*redis.Client
	for _, n := range r.cluster.Nodes {
		nodes = append(nodes, n.Client())
	}
	master := func(besides int) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) { return masterAmong(ctx, nodes, besides) }
	}
	was := until(r, master(-1))
	r.cluster.Nodes[was].Kill()
	r.inject(history.Fault, "cluster", text)
	now := until(r, master(was))
	r.heal("cluster", text)
	r.cluster.Nodes[was].Restart()
	until(r, func(ctx context.Context) (int, error) { return 0, followed(ctx, nodes[now]) })
}

// until is what f returns once it has no error.
func until(r *run, f func(context.Context) (int, error)) (n int) {
	require.NoError(r, redistest.Eventually(patience, func(ctx context.Context) (err error) {
		n, err = f(ctx)
		return err
	}))
	return n
}

// masterAmong is the node that serves the topic, but for one.
func masterAmong(ctx context.Context, nodes []*redis.Client, besides int) (int, error) {
	for i, n := range nodes {
		if i == besides {
			continue
		}
		role, err := n.Do(ctx, "role").Slice()
		if err == nil && len(role) > 0 && role[0] == "master" && n.XLen(ctx, child.Jobs.Name()).Err() == nil {
			return i, nil
		}
	}
	return 0, errors.New("no node serves the topic")
}

// followed says whether a master has a replica that is up to date.
func followed(ctx context.Context, n *redis.Client) error {
	info, err := n.Info(ctx, "replication").Result()
	if err == nil && !strings.Contains(info, "state=online") {
		err = errors.New("the new master has no replica")
	}
	return err
}

// failover is cluster-node-timeout, an election, and what clients take to notice.
const failover = 2*time.Second + 2*time.Second + 3*time.Second

// failsOver measures how long after the death of a server events are acknowledged that were published since.
func failsOver(r *run) {
	dead := int64(0)
	fresh := map[string]bool{} // published since
	for _, h := range r.history {
		switch h.What {
		case history.Fault:
			dead, fresh = h.At, map[string]bool{}
		case history.Publishing:
			fresh[h.ID] = true
		case history.Settled:
			if dead > 0 && fresh[h.ID] {
				r.recovery = append(r.recovery, time.Duration(h.At-dead))
				dead = 0
			}
		}
	}
	r.within(failover, "from the death of a master until new events are acknowledged")
}

// takenBack are the confirmed events that the stream does not have, of which nothing is ever trimmed.
func (r *run) takenBack() map[string]bool {
	gone := map[string]bool{}
	for _, h := range r.history {
		if h.What == history.Published && r.end.Stored[h.ID] == 0 {
			gone[h.ID] = true
		}
	}
	return gone
}

// nothingTakenBack: the stream has all that was confirmed.
func nothingTakenBack(r *run) {
	gone := r.takenBack()
	assert.Zero(r, len(gone), "confirmed events that the stream has lost: %.1000v", gone)
}

// takenBackIsSaid: the consumers report a loss if the stream lacks what one of them had seen.
func takenBackIsSaid(r *run) {
	gone := r.takenBack()
	seen, said := 0, 0
	for _, h := range r.history {
		switch {
		case h.What == history.Started && gone[h.ID]:
			seen++
		case h.What == history.Loss:
			said++
		}
	}
	if seen > 0 {
		assert.Positive(r, said, "reports of loss")
	}
	r.note("%d confirmed events taken back, %d reports of loss", len(gone), said)
}
