package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// TestNothingIsLostOrDoubled runs random handlers on buses that come and go, and looks at how each event ended.
func TestNothingIsLostOrDoubled(t *testing.T) {
	for seed := range uint64(300) {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { synctest.Test(t, simulation{seed: seed}.run) }) {
			return
		}
	}
}

type simulation struct{ seed uint64 }

// history is what happened to each event.
type history struct {
	mu       sync.Mutex
	rnd      *rand.Rand
	lossy    bool // leases are lost
	failures map[string]int
	ends     map[string]int
	outputs  map[string]int
}

func (s simulation) run(t *testing.T) {
	rnd := rand.New(rand.NewPCG(s.seed, 1))
	tr := &strict{Transport: memory.New(), rnd: rand.New(rand.NewPCG(s.seed, 3))}
	if s.seed%3 == 0 {
		tr.lose = 20
	}
	t.Cleanup(func() {
		tr.Close()
		assert.Empty(t, tr.breaches, "the engine breaks the contract")
		assert.Zero(t, tr.open, "subscriptions that were not closed")
	})
	h := &history{lossy: tr.lose > 0, rnd: rand.New(rand.NewPCG(s.seed, 2)), failures: map[string]int{}, ends: map[string]int{}, outputs: map[string]int{}}
	events := 1 + rnd.IntN(150)
	require.NoError(t, orders.PublishAll(t.Context(), bus.New(tr), numbered(events)))

	for range rnd.IntN(4) { // processes that come and go
		b, sub := h.bus(tr, rnd)
		stop := bustest.Start(t, b)
		for range rnd.IntN(5) {
			<-time.After(time.Duration(rnd.IntN(5e9)))
			fiddle(t, rnd, sub)
		}
		stop()
		require.Empty(t, bus.Leftovers(sub))
	}
	last, sub := h.bus(tr, rnd)
	stop := bustest.Start(t, last)
	bustest.Settle(t, last)
	stop()
	require.Empty(t, bus.Leftovers(sub))

	dead, err := tr.CountLetters(t.Context(), transport.Topic{Name: "orders.placed"}, "billing")
	require.NoError(t, err)
	ls, _ := tr.Letters(t.Context(), transport.Topic{Name: "orders.placed"}, "billing", "", 1000)
	for _, l := range ls {
		assert.Equal(t, "rejected", l.Reason, l.Error)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	assert.Len(t, h.ends, events)
	doubled := 0
	for _, n := range h.ends {
		doubled += n - 1
	}
	assert.LessOrEqual(t, doubled, tr.lost, "an event ends once, or once more for a lost lease")
	assert.EqualValues(t, events, int(dead)+len(h.outputs), "each event has one output or one dead letter")
	for id, n := range h.outputs {
		assert.Equal(t, 1, n, "outputs of event %s", id)
	}
}

// fiddle does what an operator may do.
func fiddle(t *testing.T, rnd *rand.Rand, sub *bus.Subscriber[Order]) {
	switch rnd.IntN(8) {
	case 0:
		require.NoError(t, sub.Stop(t.Context()))
	case 1, 2:
		sub.Pause()
	case 3, 4, 5:
		sub.Resume()
	}
}

func (h *history) bus(tr transport.Transport, rnd *rand.Rand) (*bus.Bus, *bus.Subscriber[Order]) {
	b := bus.New(tr, quiet, bus.Grace(time.Duration(rnd.IntN(5))*time.Second))
	handler := bus.HandlerOf[Order](h.handle)
	if rnd.IntN(3) == 0 {
		handler = bus.Batched(1+rnd.IntN(20), time.Duration(rnd.IntN(1000))*time.Millisecond, h.handleBatch)
	}
	opts := []bus.SubscribeOption{bus.Concurrency(1 + rnd.IntN(20))}
	if rnd.IntN(2) == 0 {
		opts = append(opts, bus.Prefetch(rnd.IntN(50)))
	}
	sub := orders.Subscribe(b, "billing", handler, opts...)
	invoices.Subscribe(b, "count", func(_ context.Context, e *bus.Event[Order]) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.outputs[e.ID]++
		return nil
	})
	return b, sub
}

func (h *history) handleBatch(ctx context.Context, es []*bus.Event[Order]) error {
	errs := make(bus.BatchErrors, len(es))
	for i, e := range es {
		func() {
			defer func() {
				if recover() != nil {
					errs[i] = errPanic
				}
			}()
			errs[i] = h.handle(ctx, e)
		}()
	}
	if context.Cause(ctx) == bus.ErrDraining {
		h.cutShort(es, errs)
	}
	return errs
}

// cutShort: a drain that cuts a batch short makes no attempt of any plain failure in it.
func (h *history) cutShort(es []*bus.Event[Order], errs bus.BatchErrors) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, err := range errs {
		if err == errCard || err == errPanic {
			h.failures[es[i].Payload.ID]--
		}
	}
}

var errPanic = errors.New("panic")

// handle takes a random time and ends in a random way.
func (h *history) handle(ctx context.Context, e *bus.Event[Order]) error {
	h.mu.Lock()
	wait, way := time.Duration(h.rnd.IntN(3e9)), h.rnd.IntN(20)
	h.mu.Unlock()
	if err := invoices.Publish(ctx, e, e.Payload, bus.ID("invoice "+e.Payload.ID)); err != nil {
		return err
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return ctx.Err() // cut short by the drain
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	id := e.Payload.ID
	// A failure whose lease was lost counts no attempt.
	if want := 1 + h.failures[id]; e.Attempt > want || e.Attempt < want && !h.lossy {
		return bus.DeadLetter("wrong attempt", fmt.Errorf("attempt %d, want %d", e.Attempt, want)) // shows in the sums
	}
	switch {
	case way < 4:
		h.failures[id]++
		return errCard
	case way == 4:
		h.failures[id]++
		panic("boom")
	case way == 5:
		h.failures[id]++
		return bus.Permanent(errCard)
	case way < 8:
		return bus.Snooze(time.Duration(h.rnd.IntN(5000))*time.Millisecond, errCard)
	case way == 8:
		return bus.Pause(time.Duration(h.rnd.IntN(5000))*time.Millisecond, errCard)
	case way == 9:
		h.ends[id]++
		return bus.DeadLetter("rejected", errCard)
	}
	h.ends[id]++
	return nil
}
