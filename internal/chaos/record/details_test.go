package record_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/chaos/record"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestOutcome(t *testing.T) {
	cause := errors.New("cut")
	each := &transport.PublishError{Topic: "t", Err: cause, Outcomes: []transport.Outcome{transport.Stored, transport.NotStored, transport.Unknown}}
	for i, want := range []history.What{history.Published, history.NotPublished, history.Unknown} {
		what, _ := record.Outcome(errors.Join(errors.New("bus"), each), i)
		assert.Equal(t, want, what)
		what, _ = record.Outcome(nil, i)
		assert.Equal(t, history.Published, what)
	}
	each.Err = &transport.DurabilityError{Want: 1}
	for i, want := range []history.What{history.Unknown, history.NotPublished, history.Unknown} {
		what, _ := record.Outcome(each, i)
		assert.Equal(t, want, what, "stored, and perhaps not for long")
	}
	what, text := record.Outcome(cause, 0)
	assert.Equal(t, history.NotPublished, what)
	assert.Equal(t, "cut", text)
	what, _ = record.Outcome(bus.ErrPublishUnknown, 0)
	assert.Equal(t, history.Unknown, what)
}

func TestLosses(t *testing.T) {
	var h history.Memory
	var said bytes.Buffer
	log := slog.New(record.Losses(h.Process("one"), slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelError + 1})))
	log = log.With("topic", "t").WithGroup("g")
	loss := &transport.LossError{Topic: "t", Group: "g", What: "it was flushed"}
	log.Error("data loss suspected", "error", loss)
	log.Warn("dead letters removed by their bound", "error", &transport.LossError{Letters: true})
	log.Warn("cannot receive", "error", errors.New("cut"))
	require.Len(t, h.Records(), 1)
	assert.Equal(t, history.Loss, h.Records()[0].What)
	assert.Equal(t, loss.Error(), h.Records()[0].Text)
	assert.Empty(t, said.String(), "it is not for the next handler")
}

// whats handles one event as f says, with a bus that is drained after a while, and returns what was recorded of its consumer.
func whats(t *testing.T, f bus.HandlerOf[Order], when func(*memory.Transport, transport.Subscription)) (said []string) {
	synctest.Test(t, func(t *testing.T) {
		var h history.Memory
		tr := memory.New()
		defer tr.Close()
		spy := &spy{Transport: tr}
		b := bus.New(spy, append(record.Bus(h.Process("one"), nil), bus.Grace(time.Second))...)
		orders.Subscribe(b, "billing", f, bus.Lease(lease), bus.Redeliver(bus.Backoff{Min: 10_000 * time.Hour, Max: 10_000 * time.Hour}))
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan struct{})
		go func() { defer close(ran); _ = b.Run(ctx) }()
		require.NoError(t, orders.Publish(ctx, b, Order{1}))
		synctest.Wait()
		when(tr, spy.sub)
		<-time.After(5 * lease)
		cancel()
		<-ran
		outside := map[history.What]bool{history.Publishing: true, history.Published: true} // once each, at any moment
		for _, r := range h.Records() {
			if outside[r.What] {
				outside[r.What] = false
				continue
			}
			said = append(said, string(r.What)+" "+r.Text)
		}
	})
	return said
}

// spy remembers its subscription, for tests that stall it.
type spy struct {
	*memory.Transport
	sub transport.Subscription
}

func (s *spy) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	sub, err := s.Transport.Subscribe(ctx, t, g)
	s.sub = sub
	return sub, err
}

func nothing(*memory.Transport, transport.Subscription) {}

func TestAPanicIsAFailure(t *testing.T) {
	said := whats(t, func(context.Context, *bus.Event[Order]) error { panic("oh") }, nothing)
	assert.Equal(t, []string{"started ", "failed the handler panicked or ended its goroutine", "settled failed"}, said)
}

func TestTheEndOfTheGraceIsSeen(t *testing.T) {
	said := whats(t, func(ctx context.Context, _ *bus.Event[Order]) error { <-ctx.Done(); return ctx.Err() }, nothing)
	assert.Equal(t, []string{"started ", "ended " + bus.ErrDraining.Error(), "failed context canceled", "settled deferred"}, said)
}

func TestARefusalIsSeen(t *testing.T) {
	first := true
	said := whats(t, func(ctx context.Context, _ *bus.Event[Order]) error {
		if !first {
			return nil
		}
		first = false
		<-ctx.Done()
		<-time.After(time.Second)
		return errors.New("no")
	}, func(tr *memory.Transport, sub transport.Subscription) {
		resume := tr.Stall(sub)
		<-time.After(2 * lease)
		resume()
	})
	assert.Contains(t, said, "ended "+bus.ErrLeaseLost.Error())
	assert.Contains(t, said, "refused failed")
	assert.Contains(t, said, "settled done")
}

func TestWhatIsStagedHasNoOutcomeOfItsOwn(t *testing.T) {
	said := whats(t, func(ctx context.Context, e *bus.Event[Order]) error {
		return bus.NewTopic("invoices", orderCodec).Publish(ctx, e, e.Payload)
	}, nothing)
	assert.Equal(t, []string{"started ", "publishing ", "finished ", "settled done"}, said)
}
