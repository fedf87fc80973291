package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRecorderKeepsCopies(t *testing.T) {
	var r bustest.Recorder
	raw := bus.NewTopic("raw", codec.Bytes())
	body := []byte("before")
	require.NoError(t, raw.Publish(t.Context(), &r, body))
	require.NoError(t, greetings.Publish(t.Context(), &r, "hello"))
	copy(body, "after!")
	assert.Equal(t, [][]byte{[]byte("before")}, bustest.Published(t, &r, raw))
	assert.Equal(t, []string{"hello"}, bustest.Published(t, &r, greetings), "of one topic only")
}

func TestRecorderFails(t *testing.T) {
	var r bustest.Recorder
	away := errors.New("away")
	r.Fail(away)
	require.ErrorIs(t, greetings.Publish(t.Context(), &r, "lost"), away)
	r.Fail(nil)
	require.NoError(t, greetings.Publish(t.Context(), &r, "kept"))
	assert.Equal(t, []string{"kept"}, bustest.Published(t, &r, greetings))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, greetings.Publish(ended, &r, "late"), context.Canceled)
}

func TestRecorderRefusesNil(t *testing.T) {
	var r bustest.Recorder
	require.ErrorContains(t, r.Send(t.Context(), transport.Topic{Name: "raw"}, &bus.Message{ID: "1"}, nil), "nil message")
	assert.Empty(t, r.Sent(), "all or nothing, as a transport")
}

func TestNewEventIsAFirstAttempt(t *testing.T) {
	e := bustest.NewEvent(t, nil, greetings, "hello", bus.ID("1"), bus.Header("lang", "en"))
	assert.Equal(t, "hello", e.Payload)
	assert.Equal(t, "1", e.ID)
	assert.Equal(t, "en", e.Headers.Get("lang"))
	assert.Equal(t, 1, e.Attempt)
	assert.Equal(t, "greetings", e.Topic)
	require.NoError(t, greetings.Publish(t.Context(), e, "through the event"))
}

// TestSettleWaitsForTheWholeChain: one topic feeds another, and failures wait for an hour.
func TestSettleWaitsForTheWholeChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		t.Cleanup(func() { tr.Close() })
		b := bus.New(tr, bus.Logger(nil))
		second := bus.NewTopic("second", codec.JSON[string]())
		n := 0
		second.Subscribe(b, "last", func(context.Context, *bus.Event[string]) error { n++; return nil }, bus.Concurrency(1))
		greetings.Subscribe(b, "first", func(ctx context.Context, e *bus.Event[string]) error {
			if e.Attempt == 1 {
				return errors.New("no")
			}
			return second.Publish(ctx, e, e.Payload)
		}, bus.Redeliver(bus.Backoff{Min: time.Hour}))
		bustest.Start(t, b)
		for i := range 10 {
			require.NoError(t, greetings.Publish(t.Context(), b, fmt.Sprint(i)))
		}
		bustest.Settle(t, b)
		assert.Equal(t, 10, n)
	})
}

// failing is a testing.TB that keeps what a helper reports instead of failing the test.
type failing struct {
	testing.TB
	said []string
}

func (f *failing) Helper()        {}
func (f *failing) Cleanup(func()) {}
func (f *failing) Errorf(format string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(format, args...))
}
func (f *failing) FailNow() { runtime.Goexit() }
func (f *failing) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	f.FailNow()
}

// report returns what f says of a helper.
func report(t *testing.T, helper func(testing.TB)) string {
	f := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		helper(f)
	}()
	<-done
	return strings.Join(f.said, "\n")
}

func TestStartReportsWhyRunFailed(t *testing.T) {
	b := bus.New(memory.New())
	greetings.Subscribe(b, "billing", nil)
	assert.Contains(t, report(t, func(t testing.TB) { bustest.Start(t, b) }), "nil handler")
}

func TestSettleWaitsForDelayedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		t.Cleanup(func() { tr.Close() })
		b := bus.New(tr)
		n := 0
		greetings.Subscribe(b, "first", func(context.Context, *bus.Event[string]) error { n++; return nil })
		bustest.Start(t, b)
		require.NoError(t, greetings.Publish(t.Context(), b, "x", bus.Delay(time.Hour)))
		bustest.Settle(t, b)
		assert.Equal(t, 1, n)
	})
}

func TestSettleReportsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.New()
		t.Cleanup(func() { tr.Close() })
		b := bus.New(tr, bus.Logger(nil))
		greetings.Subscribe(b, "never", func(context.Context, *bus.Event[string]) error { return bus.Snooze(time.Hour, nil) })
		bustest.Start(t, b)
		require.NoError(t, greetings.Publish(t.Context(), b, "x"))
		assert.Contains(t, report(t, func(t testing.TB) { bustest.Settle(t, b) }), "greetings/never: 0 undelivered, 0 pending, 1 waiting, 0 delayed")
	})
}
