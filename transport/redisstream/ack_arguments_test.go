package redisstream

import (
	"context"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/transport"
)

// ackHook sees acknowledgements as tracing does.
type ackHook struct {
	mu   sync.Mutex
	acks [][]any
}

func (h *ackHook) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (h *ackHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (h *ackHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.mu.Lock()
		for _, c := range cmds {
			if c.Name() == "xack" {
				h.acks = append(h.acks, c.Args())
			}
		}
		h.mu.Unlock()
		return next(ctx, cmds)
	}
}

func TestHooksSeeWhatIsAcknowledged(t *testing.T) {
	b := newBench(t)
	var h ackHook
	c := b.server.Client()
	c.AddHook(&h)
	tr := New(c, Options{})
	defer tr.Close()
	s := b.subscribe(tr, transport.Group{Name: "g"})
	b.publish(1)
	ds := receive(t, s, 1)
	_, id := receiptEntry(ds[0].Receipt)
	settle(t, s, transport.Done, 0, ds...)
	h.mu.Lock()
	defer h.mu.Unlock()
	assert.Contains(t, h.acks, []any{"xack", s.keys.stream, "g", id})
}
