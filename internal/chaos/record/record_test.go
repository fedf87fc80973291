package record_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/internal/chaos/check"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/chaos/record"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type Order struct{ N int }

var (
	orderCodec = codec.JSON[Order]()
	orders     = bus.NewTopic("orders.placed", orderCodec)
)

const (
	events = 300
	lease  = time.Minute
)

// recorded publishes events through what wraps the transport, has them handled, and returns the verdict on its history.
func recorded(t *testing.T, concurrency int, wrap func(*memory.Transport) transport.Transport) (r check.Report) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		defer tr.Close()
		var h history.Memory
		b := bus.New(wrap(tr), record.Bus(h.Process("one"), nil)...)
		orders.Subscribe(b, "billing", handle, bus.Concurrency(concurrency), bus.Lease(lease),
			bus.Redeliver(bus.Backoff{Min: time.Second, Max: time.Second}))
		ctx, cancel := context.WithCancel(t.Context())
		var err error
		ran := make(chan struct{})
		go func() { defer close(ran); err = b.Run(ctx) }()
		for n := range events {
			_ = orders.Publish(ctx, b, Order{n}, bus.Key(fmt.Sprint(n%3)), bus.ID(fmt.Sprint(n)))
		}
		<-time.After(5 * lease)
		synctest.Wait()
		lag, lagErr := tr.Lag(ctx, transport.Topic{Name: orders.Name()}, "billing")
		require.NoError(t, lagErr)
		letters := lettersOf(t, tr)
		cancel()
		<-ran
		require.NoError(t, err)
		r = check.Check(h.Records(), check.Promises{Lease: int64(lease), Ordered: concurrency == 1, MaxDead: events / 10},
			check.End{Letters: letters, Pending: lag.Pending, Delayed: lag.Waiting + lag.Delayed, Undelivered: lag.Undelivered})
	})
	return r
}

// handle fails each 7th event once and gives each 50th up.
func handle(_ context.Context, e *bus.Event[Order]) error {
	<-time.After(time.Millisecond)
	switch {
	case e.Payload.N%50 == 49:
		return bus.DeadLetter("rejected", errors.New("no"))
	case e.Payload.N%7 == 6 && e.Attempt == 1:
		return errors.New("not yet")
	}
	return nil
}

func lettersOf(t *testing.T, tr *memory.Transport) map[string]int {
	ls, err := tr.Letters(t.Context(), transport.Topic{Name: orders.Name()}, "billing", "", 10*events)
	require.NoError(t, err)
	n := make(map[string]int)
	for _, l := range ls {
		n[l.ID]++
	}
	return n
}

func names(r check.Report) map[string][]string {
	m := make(map[string][]string)
	for _, b := range r.Breaches {
		m[b.Invariant] = b.Events
	}
	return m
}

func TestAnHonestTransportPasses(t *testing.T) {
	for _, concurrency := range []int{1, 10} {
		r := recorded(t, concurrency, func(tr *memory.Transport) transport.Transport { return tr })
		assert.Empty(t, r.Breaches)
		assert.Equal(t, events, r.Published)
		assert.Equal(t, events-events/50, r.Handled)
		assert.Zero(t, r.Duplicates+r.Lost)
	}
}

func TestALossIsCaught(t *testing.T) {
	r := recorded(t, 10, func(tr *memory.Transport) transport.Transport { return &liar{Transport: tr, loses: "123"} })
	assert.Equal(t, map[string][]string{check.NothingLost: {"123"}}, names(r))
	assert.Equal(t, 1, r.Lost)
}

func TestALossOnTheWayIsCaught(t *testing.T) {
	r := recorded(t, 10, func(tr *memory.Transport) transport.Transport { return &liar{Transport: tr, drops: "123"} })
	assert.Equal(t, map[string][]string{check.NothingLost: {"123"}}, names(r), "acknowledged, and handled by nobody")
}

func TestADeliveryThatIsKeptIsCaught(t *testing.T) {
	r := recorded(t, 10, func(tr *memory.Transport) transport.Transport { return &liar{Transport: tr, keeps: "123"} })
	assert.Equal(t, map[string][]string{check.NothingLeft: {"123"}}, names(r), "pending for ever")
}

func TestADoubledMessageIsCaught(t *testing.T) {
	r := recorded(t, 1, func(tr *memory.Transport) transport.Transport { return &liar{Transport: tr, doubles: "123"} })
	require.Len(t, r.Breaches, 1)
	assert.Contains(t, []string{check.DoneIsDone, check.DuplicatesBound}, r.Breaches[0].Invariant)
	assert.Equal(t, []string{"123"}, r.Breaches[0].Events)
	assert.Equal(t, 1, r.Duplicates)
	assert.Zero(t, r.Allowed)
}

func TestADoubledMessageIsCaughtWhileItIsHandled(t *testing.T) {
	r := recorded(t, 10, func(tr *memory.Transport) transport.Transport { return &liar{Transport: tr, doubles: "123"} })
	assert.Equal(t, map[string][]string{check.OneAtATime: {"123"}}, names(r))
}

func TestADoubledLetterIsCaught(t *testing.T) {
	r := recorded(t, 1, func(tr *memory.Transport) transport.Transport { return &liar{Transport: tr, doubles: "149"} })
	assert.Equal(t, []string{"149"}, names(r)[check.DeadOnce])
}

func TestAnotherOrderIsCaught(t *testing.T) {
	r := recorded(t, 1, func(tr *memory.Transport) transport.Transport { return &liar{Transport: tr, delays: "123"} })
	assert.Equal(t, map[string][]string{check.OrderKept: {"123"}}, names(r))
}

func TestALieAboutStoringIsCaught(t *testing.T) {
	r := recorded(t, 10, func(tr *memory.Transport) transport.Transport { return &liar{Transport: tr, denies: "123"} })
	assert.Equal(t, map[string][]string{check.UnknownAtMost: {"123"}}, names(r))
}

func TestAnInventionIsCaught(t *testing.T) {
	r := recorded(t, 10, func(tr *memory.Transport) transport.Transport { return &liar{Transport: tr, invents: "made-up"} })
	assert.Equal(t, map[string][]string{check.NothingMadeUp: {"made-up"}}, names(r))
}
