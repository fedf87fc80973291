package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
)

// TestSubscribersSurviveAFlushUnderLoad: they go on by themselves, say so once, and handle all that comes afterwards.
func TestSubscribersSurviveAFlushUnderLoad(t *testing.T) {
	t.Parallel()
	s, tr := setup(t)
	var log logLines
	b := bus.New(tr, log.option())
	got := &handled{at: map[int]time.Time{}}
	orders.Subscribe(b, "billing", got.handle)
	orders.Subscribe(b, "shipping", func(context.Context, *bus.Event[Order]) error { return nil })
	bustest.Start(t, b)

	load, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; load.Err() == nil; n++ {
			_ = orders.Publish(load, b, Order{N: -n}) // may be lost: the flush comes when it likes
		}
	})
	eventually(t, "load", func() error { return got.atLeast(500) })
	require.NoError(t, s.Client().FlushAll(t.Context()).Err())
	flushed := time.Now()
	const after = 1000
	for n := range after {
		require.NoError(t, orders.Publish(t.Context(), b, Order{N: n}))
	}
	eventually(t, "what was published after the flush", func() error { return got.all(after) })
	stop()
	wg.Wait()
	resumed := got.when(0).Sub(flushed)
	t.Logf("the first event published after the flush was handled %v after it", resumed.Round(time.Millisecond))
	assert.Less(t, resumed, 2*time.Second)
	for _, group := range []string{"billing", "shipping"} {
		assert.Equal(t, 1, sayings(log.String(), "data loss suspected", "group="+group), "once for %s:\n%s", group, log.String())
	}
}

func sayings(log string, words ...string) (n int) {
	for line := range strings.Lines(log) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			n++
		}
	}
	return n
}

// handled remembers when each order was handled.
type handled struct {
	mu sync.Mutex
	at map[int]time.Time
}

func (h *handled) handle(_ context.Context, e *bus.Event[Order]) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.at[e.Payload.N]; !ok {
		h.at[e.Payload.N] = time.Now()
	}
	return nil
}

func (h *handled) when(n int) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at[n]
}

func (h *handled) atLeast(n int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.at) < n {
		return errors.New("too few")
	}
	return nil
}

// all: 0 to n-1 were handled.
func (h *handled) all(n int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range n {
		if _, ok := h.at[i]; !ok {
			return fmt.Errorf("%d was not handled", i)
		}
	}
	return nil
}
