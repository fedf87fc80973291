package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestVerdictOf(t *testing.T) {
	plain := fmt.Errorf("charge: %w", errCard)
	for name, c := range map[string]struct {
		err  error
		want bus.Verdict
		kind string
	}{
		"nil":           {nil, bus.Verdict{}, "handled"},
		"plain":         {plain, bus.Verdict{Kind: bus.Failed, Err: plain}, "failed"},
		"snooze":        {bus.Snooze(time.Second, errCard), bus.Verdict{Kind: bus.Snoozed, After: time.Second, Err: errCard}, "snoozed"},
		"pause":         {bus.Pause(time.Second, nil), bus.Verdict{Kind: bus.Paused, After: time.Second}, "paused"},
		"permanent":     {bus.Permanent(errCard), bus.Verdict{Kind: bus.PermanentlyFailed, Err: errCard}, "permanently failed"},
		"dead letter":   {bus.DeadLetter("late", errCard), bus.Verdict{Kind: bus.DeadLettered, Reason: "late", Err: errCard}, "dead-lettered"},
		"no word":       {bus.DeadLetter("far too late", errCard), bus.Verdict{Kind: bus.DeadLettered, Reason: "other", Err: fmt.Errorf("far too late: %w", errCard)}, "dead-lettered"},
		"no reason":     {bus.DeadLetter("", nil), bus.Verdict{Kind: bus.DeadLettered, Reason: "other"}, "dead-lettered"},
		"only words":    {bus.DeadLetter("too late", nil), bus.Verdict{Kind: bus.DeadLettered, Reason: "other", Err: errors.New("too late")}, "dead-lettered"},
		"wrapped":       {fmt.Errorf("x: %w", bus.Pause(1, nil)), bus.Verdict{Kind: bus.Paused, After: 1}, "paused"},
		"outermost":     {bus.Snooze(1, bus.Permanent(errCard)), bus.Verdict{Kind: bus.Snoozed, After: 1, Err: bus.Permanent(errCard)}, "snoozed"},
		"quoted":        {fmt.Errorf("%v", bus.Permanent(errCard)), bus.Verdict{Kind: bus.Failed, Err: fmt.Errorf("%v", errCard)}, "failed"},
		"joined":        {errors.Join(errCard, bus.Pause(1, nil)), bus.Verdict{Kind: bus.Paused, After: 1}, "paused"},
		"permanent nil": {bus.Permanent(nil), bus.Verdict{}, "handled"},
	} {
		t.Run(name, func(t *testing.T) {
			v := bus.VerdictOf(c.err)
			assert.Equal(t, c.kind, v.Kind.String())
			if name != "quoted" {
				assert.Equal(t, c.want, v)
			}
		})
	}
}

func TestCutShort(t *testing.T) {
	for cause, want := range map[error]bool{
		bus.ErrDraining: true, bus.ErrLeaseLost: true, context.DeadlineExceeded: false, context.Canceled: false,
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		assert.False(t, bus.CutShort(ctx))
		cancel(cause)
		assert.Equal(t, want, bus.CutShort(ctx), "%v", cause)
		child, cancelChild := context.WithTimeout(ctx, time.Hour)
		assert.Equal(t, want, bus.CutShort(child), "%v, of a context derived from it", cause)
		cancelChild()
	}
}

func TestDrainingIsClosedWhenTheDrainBegins(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet)
		began, ended := make(chan struct{}), make(chan time.Duration, 1)
		orders.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
			close(began)
			begin := time.Now()
			<-e.Draining()
			ended <- time.Since(begin)
			return nil
		})
		stop := bustest.Start(t, b)
		publish(t, b, "1")
		<-began
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, ended)
		stop()
		assert.Equal(t, time.Minute, <-ended, "at once, not when the grace is over")
	})
}

// TestRewritingStaysInside: what middleware makes of a message reaches the handler, and nobody else.
func TestRewritingStaysInside(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		lift := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				m := *d.Message
				m.Body = []byte(`{"ID":"lifted"}`)
				m.Headers.Set("schema", "2")
				return next(ctx, d.WithMessage(&m))
			}
		}
		b := bus.New(tr, quiet, bus.Use(lift))
		var got []string
		orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			got = append(got, e.Payload.ID+e.Headers.Get("schema"))
			require.NoError(t, orders.Publish(ctx, e, Order{ID: "staged"}))
			assert.Equal(t, 1, e.Staged())
			assert.NotNil(t, e.Draining())
			return bus.DeadLetter("rejected", nil)
		})
		bustest.Start(t, b)
		publish(t, b, "1")
		bustest.Settle(t, b)
		assert.Equal(t, []string{"lifted2"}, got)
		letters, err := tr.Letters(t.Context(), transport.Topic{Name: orders.Name()}, "billing", "", 10)
		require.NoError(t, err)
		require.Len(t, letters, 1)
		assert.NotContains(t, string(letters[0].Body), "lifted")
		assert.Empty(t, letters[0].Headers)
	})
}

// TestStaging: a handler publishes through its event and, with the same context, through the bus.
func TestStaging(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		var staging []bool
		note := func(next bus.Sender) bus.Sender {
			return func(ctx context.Context, topic transport.Topic, ms []*bus.Message) error {
				staging = append(staging, bus.Staging(ctx))
				return next(ctx, topic, ms)
			}
		}
		b := bus.New(tr, quiet, bus.UseSend(note))
		other := bus.NewTopic("other", codec.JSON[string]())
		orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			require.NoError(t, other.Publish(ctx, e, "staged"))
			return other.Publish(ctx, b, "at once")
		})
		bustest.Start(t, b)
		publish(t, b, "1")
		bustest.Settle(t, b)
		assert.Equal(t, []bool{false, true, false}, staging)
	})
}
