package bus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

var errLost = errors.New("the answer is lost")

var causeOfLoss = errLost

// forgetful loses answers: what it is asked for is done, now or later, and the caller is told Unknown.
type forgetful struct {
	*memory.Transport
	mu    sync.Mutex
	calls [][]string                                                         // ids of each Publish
	fate  func(call int, ms int) (o []transport.Outcome, late time.Duration) // nil: as usual
	times []time.Time
	wg    sync.WaitGroup
}

func (l *forgetful) Publish(ctx context.Context, t transport.Topic, ms []*transport.Message) error {
	l.mu.Lock()
	n := len(l.calls)
	var ids []string
	for _, m := range ms {
		ids = append(ids, m.ID)
	}
	l.calls, l.times = append(l.calls, ids), append(l.times, time.Now())
	outcomes, late := l.fate(n, len(ms))
	l.mu.Unlock()
	if outcomes == nil {
		return l.Transport.Publish(ctx, t, ms)
	}
	var reach []*transport.Message
	for i, o := range outcomes {
		if o != transport.NotStored {
			reach = append(reach, ms[i].Clone())
		}
	}
	l.wg.Go(func() {
		if late > 0 {
			<-time.After(late)
		}
		l.Transport.Publish(context.WithoutCancel(ctx), t, reach)
	})
	if late == 0 {
		l.wg.Wait()
	}
	return &transport.PublishError{Topic: t.Name, Outcomes: outcomes, Err: causeOfLoss}
}

func (l *forgetful) stored(t testing.TB) int { return stored(t, l.Transport) }

// stored is how many messages the topic has; 0 if the transport is closed.
func stored(t testing.TB, tr *memory.Transport) int {
	topic, group := transport.Topic{Name: "orders"}, transport.NewID()
	sub, err := tr.Subscribe(t.Context(), topic, transport.Group{Name: group})
	if errors.Is(err, transport.ErrClosed) {
		return 0
	}
	require.NoError(t, err)
	defer sub.Close(t.Context())
	lag, err := tr.Lag(t.Context(), topic, group)
	require.NoError(t, err)
	return int(lag.Undelivered)
}

func allUnknown(n int) []transport.Outcome {
	return slices.Repeat([]transport.Outcome{transport.Unknown}, n)
}

type fateOf = func(call, n int) ([]transport.Outcome, time.Duration)

// dedupBubble runs f with a bus on a forgetful transport, in a bubble, and looks that nothing is doubled.
func dedupBubble(t *testing.T, window time.Duration, fate fateOf, f func(t *testing.T, l *forgetful, b *bus.Bus, topic *bus.Topic[string])) {
	synctest.Test(t, func(t *testing.T) {
		l := &forgetful{Transport: memory.New(), fate: fate}
		defer l.Close()
		topic := bus.NewTopic("orders", codec.JSON[string](), bus.Dedup(window))
		f(t, l, bus.New(l), topic)
		l.wg.Wait()
		ids := map[string]bool{}
		for _, call := range l.calls {
			for _, id := range call {
				ids[id] = true
			}
		}
		require.LessOrEqual(t, l.stored(t), len(ids), "something is doubled")
	})
}

func TestDedupRepeatsUntilItIsStored(t *testing.T) {
	fate := func(call, n int) ([]transport.Outcome, time.Duration) {
		switch {
		case call < 2:
			return allUnknown(n), 0
		case call < 4: // nothing can be sent, so it is still unknown
			return make([]transport.Outcome, n), 0
		}
		return nil, 0
	}
	dedupBubble(t, time.Minute, fate, func(t *testing.T, l *forgetful, b *bus.Bus, topic *bus.Topic[string]) {
		require.NoError(t, topic.Publish(t.Context(), b, "a"))
		require.Len(t, l.calls, 5)
		require.Equal(t, 1, l.stored(t))
		for i := 1; i < len(l.times); i++ {
			require.LessOrEqual(t, l.times[i].Sub(l.times[i-1]), 50*time.Millisecond<<(i-1))
		}
	})
}

func TestDedupRepeatsOnlyWhatIsUnknownAndWhatCameAfterIt(t *testing.T) {
	const no, yes, unknown = transport.NotStored, transport.Stored, transport.Unknown
	fate := func(call, _ int) ([]transport.Outcome, time.Duration) {
		if call == 0 {
			return []transport.Outcome{yes, no, yes, unknown, unknown, no}, 0
		}
		return nil, 0
	}
	dedupBubble(t, time.Minute, fate, func(t *testing.T, l *forgetful, b *bus.Bus, topic *bus.Topic[string]) {
		err := topic.PublishAll(t.Context(), b, strings.Split("abcdef", ""))
		var each *bus.PublishError
		require.ErrorAs(t, err, &each)
		require.Equal(t, []transport.Outcome{yes, no, yes, yes, yes, yes}, each.Outcomes)
		require.NotErrorIs(t, err, bus.ErrPublishUnknown)
		require.ErrorIs(t, err, errLost)
		require.Len(t, l.calls, 2)
		require.Equal(t, l.calls[0][3:], l.calls[1])
	})
}

func TestDedupWhatIsKnownNotToBeStoredIsNotRepeated(t *testing.T) {
	fate := func(_, n int) ([]transport.Outcome, time.Duration) { return make([]transport.Outcome, n), 0 }
	dedupBubble(t, time.Minute, fate, func(t *testing.T, l *forgetful, b *bus.Bus, topic *bus.Topic[string]) {
		require.ErrorIs(t, topic.Publish(t.Context(), b, "a"), errLost)
		require.Len(t, l.calls, 1)
	})
}

func TestDedupRepeatsWhatMetABrokenConnection(t *testing.T) {
	defer func() { causeOfLoss = errLost }()
	for _, cause := range []error{os.ErrDeadlineExceeded, io.EOF, syscall.ECONNRESET} {
		causeOfLoss = fmt.Errorf("redis: %w", cause)
		fate := func(call, n int) ([]transport.Outcome, time.Duration) {
			if call < 2 {
				return make([]transport.Outcome, n), 0
			}
			return nil, 0
		}
		dedupBubble(t, time.Minute, fate, func(t *testing.T, l *forgetful, b *bus.Bus, topic *bus.Topic[string]) {
			require.NoError(t, topic.PublishAll(t.Context(), b, []string{"a", "b"}))
			require.Len(t, l.calls, 3)
		})
	}
}

func TestDedupFirstTryArrivesAfterTheRepeat(t *testing.T) {
	fate := func(call, n int) ([]transport.Outcome, time.Duration) {
		if call%2 == 0 {
			return allUnknown(n), 20 * time.Second
		}
		return nil, 0
	}
	dedupBubble(t, time.Minute, fate, func(t *testing.T, l *forgetful, b *bus.Bus, topic *bus.Topic[string]) {
		for i := range 10 {
			require.NoError(t, topic.PublishAll(t.Context(), b, []string{strconv.Itoa(i), "x", "y"}))
		}
		l.wg.Wait()
		require.Equal(t, 30, l.stored(t))
	})
}

func TestDedupGivesUp(t *testing.T) {
	never := func(_, n int) ([]transport.Outcome, time.Duration) { return allUnknown(n), 0 }
	for _, c := range []struct{ window, deadline, least, most time.Duration }{
		{time.Hour, 0, 28 * time.Second, 30 * time.Second},
		{20 * time.Second, 0, 8 * time.Second, 10 * time.Second},
		{time.Hour, 3 * time.Second, 3 * time.Second, 3 * time.Second},
		{time.Hour, 2 * time.Minute, 2 * time.Minute, 2 * time.Minute},
		{4 * time.Second, time.Minute, 0, 2 * time.Second},
	} {
		dedupBubble(t, c.window, never, func(t *testing.T, l *forgetful, b *bus.Bus, topic *bus.Topic[string]) {
			ctx, began := t.Context(), time.Now()
			if c.deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, c.deadline)
				defer cancel()
			}
			err := topic.Publish(ctx, b, "a")
			require.ErrorIs(t, err, bus.ErrPublishUnknown)
			require.ErrorIs(t, err, errLost)
			require.ErrorContains(t, err, "given up after "+strconv.Itoa(len(l.calls))+" tries in ")
			require.Equal(t, ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded))
			require.GreaterOrEqual(t, time.Since(began), c.least)
			require.LessOrEqual(t, time.Since(began), c.most)
		})
	}
}

func TestDedupStopsWhenTheTransportIsClosed(t *testing.T) {
	fate := func(call, n int) ([]transport.Outcome, time.Duration) {
		if call < 5 {
			return allUnknown(n), 0
		}
		return nil, 0
	}
	dedupBubble(t, time.Hour, fate, func(t *testing.T, l *forgetful, b *bus.Bus, topic *bus.Topic[string]) {
		require.NoError(t, l.Close())
		err := topic.Publish(t.Context(), b, "a")
		require.ErrorIs(t, err, bus.ErrClosed)
		require.ErrorIs(t, err, bus.ErrPublishUnknown, "the first try may have stored it")
		require.Len(t, l.calls, 6)
	})
}

func TestWithoutDedupNothingIsRepeated(t *testing.T) {
	l := &forgetful{Transport: memory.New(), fate: func(_, n int) ([]transport.Outcome, time.Duration) { return allUnknown(n), 0 }}
	defer l.Close()
	err := bus.NewTopic("orders", codec.JSON[string]()).Publish(t.Context(), bus.New(l), "a")
	require.ErrorIs(t, err, bus.ErrPublishUnknown)
	require.Len(t, l.calls, 1)
}

func TestDedupKnowsIDsFromOutside(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	topic, b := bus.NewTopic("orders", codec.JSON[string](), bus.Dedup(time.Minute)), bus.New(tr)
	for range 3 {
		require.NoError(t, topic.Publish(t.Context(), b, "a", bus.ID("webhook-1")))
		require.NoError(t, topic.Publish(t.Context(), b, "a"))
	}
	require.Equal(t, 4, stored(t, tr))
}

func TestDedupOfTracedPublishesIsOne(t *testing.T) {
	var sends int
	count := func(next bus.Sender) bus.Sender {
		return func(ctx context.Context, t transport.Topic, ms []*bus.Message) error {
			sends++
			return next(ctx, t, ms)
		}
	}
	lose := func(call, n int) ([]transport.Outcome, time.Duration) {
		if call < 3 {
			return allUnknown(n), 0
		}
		return nil, 0
	}
	dedupBubble(t, time.Minute, lose, func(t *testing.T, l *forgetful, _ *bus.Bus, topic *bus.Topic[string]) {
		assert.NoError(t, topic.Publish(t.Context(), bus.New(l, bus.UseSend(count)), "a"))
		assert.Equal(t, 1, sends)
		assert.Len(t, l.calls, 4)
	})
}

func TestBadDedup(t *testing.T) {
	topic := bus.NewTopic("orders", codec.JSON[string](), bus.Dedup(time.Millisecond), bus.MaxBytes(0))
	err := topic.Publish(t.Context(), bus.New(memory.New()), "a")
	require.ErrorContains(t, err, "Dedup(1ms): must be at least 1s")
	require.ErrorContains(t, err, "MaxBytes(0): must be at least 1")
}
