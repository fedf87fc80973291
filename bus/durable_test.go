package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// topicsSeen remembers the topic that was published to last.
type topicsSeen struct {
	*memory.Transport
	last transport.Topic
}

func (s *topicsSeen) Publish(ctx context.Context, t transport.Topic, ms []*transport.Message) error {
	s.last = t
	return s.Transport.Publish(ctx, t, ms)
}

func TestDurableReachesTheTransport(t *testing.T) {
	r := &topicsSeen{Transport: memory.New()}
	defer r.Close()
	topic := bus.NewTopic("orders", codec.JSON[string](), bus.Durable(2, time.Second), bus.Dedup(time.Minute))
	require.NoError(t, topic.Publish(t.Context(), bus.New(r), "a"))
	require.Equal(t, transport.Topic{
		Name: "orders", Dedup: time.Minute, Durable: transport.Durability{Replicas: 2, Timeout: time.Second},
	}, r.last)
}

func TestDurableOnDiskReachesTheTransport(t *testing.T) {
	r := &topicsSeen{Transport: memory.New()}
	defer r.Close()
	topic := bus.NewTopic("orders", codec.JSON[string](), bus.DurableOnDisk(0, time.Second))
	require.NoError(t, topic.Publish(t.Context(), bus.New(r), "a"))
	require.Equal(t, transport.Durability{OnDisk: true, Timeout: time.Second}, r.last.Durable)
}

func TestBadDurable(t *testing.T) {
	for _, o := range []bus.TopicOption{bus.Durable(0, time.Second), bus.Durable(1, 0), bus.DurableOnDisk(-1, time.Second), bus.DurableOnDisk(0, 0)} {
		err := bus.NewTopic("orders", codec.JSON[string](), o).Publish(t.Context(), bus.New(memory.New()), "a")
		require.ErrorContains(t, err, "must be at least")
	}
}

func TestBadAbandonAfter(t *testing.T) {
	for _, r := range []bus.Retention{{AbandonAfter: 59 * time.Second}, {AbandonAfter: -time.Hour}, {MaxLen: 5, Hard: true, AbandonAfter: time.Hour}} {
		err := bus.NewTopic("orders", codec.JSON[string](), bus.Retain(r)).Publish(t.Context(), bus.New(memory.New()), "a")
		require.ErrorContains(t, err, "AbandonAfter")
	}
	topic := bus.NewTopic("orders", codec.JSON[string](), bus.Retain(bus.Retention{AbandonAfter: time.Minute}))
	require.NoError(t, topic.Publish(t.Context(), bus.New(memory.New()), "a"))
}

// On a topic that is both, what is stored on too few replicas is not repeated.
func TestDedupDoesNotRepeatAShortage(t *testing.T) {
	short := &transport.DurabilityError{Want: 1, Timeout: time.Second}
	causeOfLoss = short
	defer func() { causeOfLoss = errLost }()
	fate := func(call, _ int) ([]transport.Outcome, time.Duration) {
		if call == 0 {
			return []transport.Outcome{transport.Unknown}, 0
		}
		return []transport.Outcome{transport.Stored}, 0
	}
	dedupBubble(t, time.Minute, fate, func(t *testing.T, l *forgetful, b *bus.Bus, topic *bus.Topic[string]) {
		err := topic.Publish(t.Context(), b, "a")
		require.ErrorIs(t, err, short)
		require.NotErrorIs(t, err, bus.ErrPublishUnknown)
		require.Len(t, l.calls, 2)
	})
}

// What does not go together is refused, so that no promise is weaker than it reads.
func TestPromisesThatDoNotGoTogether(t *testing.T) {
	for want, options := range map[string][]bus.TopicOption{
		"give one of them": {bus.Durable(2, time.Second), bus.DurableOnDisk(0, time.Second)},
		"bounds nothing":   {bus.Retain(bus.Retention{MaxLen: -1, AbandonAfter: time.Hour})},
	} {
		err := bus.NewTopic("orders", codec.JSON[string](), options...).Publish(t.Context(), bus.New(memory.New()), "a")
		require.ErrorContains(t, err, want)
	}
	twice := bus.NewTopic("orders", codec.JSON[string](), bus.Durable(2, time.Second), bus.Durable(1, time.Second))
	require.NoError(t, twice.Publish(t.Context(), bus.New(memory.New()), "a"), "the last one holds")
}
