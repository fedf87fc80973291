package middleware_test

import (
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

func TestLogByVerdict(t *testing.T) {
	levels := map[string]string{
		"handled":            "DEBUG",
		"failed":             "WARN",
		"snoozed":            "DEBUG",
		"paused":             "INFO",
		"permanently failed": "ERROR",
		"dead-lettered":      "ERROR",
	}
	for _, o := range everyOutcome {
		synctest.Test(t, func(t *testing.T) {
			var j journal
			d := oneDelivery("17")
			d.Redelivered = 2
			err := middleware.Log(j.logger(slog.LevelDebug))(func(context.Context, *bus.Delivery) error {
				time.Sleep(1500 * time.Millisecond)
				return o.err
			})(t.Context(), d)
			require.Equal(t, o.err, err)
			verdict := o.kind.String()
			require.Len(t, j.lines(), 1)
			if strings.Contains(verdict, " ") {
				verdict = strconv.Quote(verdict)
			}
			assert.Len(t, j.with("level="+levels[o.kind.String()],
				"msg=delivery topic=beads group=counting id=17 attempt=1 redelivered=2 duration=1.5s verdict="+verdict), 1, j.lines())
			if o.err == nil {
				assert.Empty(t, j.with("error="))
			} else {
				assert.Len(t, j.with("error=", o.err.Error()), 1)
			}
		})
	}
}

func TestLogOfWhatIsCutShort(t *testing.T) {
	for _, cause := range []error{bus.ErrDraining, bus.ErrLeaseLost} {
		var j journal
		_ = middleware.Log(j.logger(slog.LevelInfo))(returning(errBroken))(ended(t, cause), oneDelivery("17"))
		assert.Len(t, j.with("level=INFO", `verdict="cut short"`, "error=broken"), 1, j.lines())
		_ = middleware.Log(j.logger(slog.LevelInfo))(returning(bus.Permanent(errBroken)))(ended(t, cause), oneDelivery("18"))
		assert.Len(t, j.with("level=ERROR", `verdict="permanently failed"`), 1, "a mark says more", j.lines())
	}
	var j journal
	_ = middleware.Log(j.logger(slog.LevelInfo))(returning(errBroken))(ended(t, context.DeadlineExceeded), oneDelivery("17"))
	assert.Len(t, j.with("level=WARN", "verdict=failed"), 1, "any other end is a failure")
}

func TestLogOfPanicAndGoexit(t *testing.T) {
	var j journal
	mw := middleware.Log(j.logger(slog.LevelDebug))
	assert.PanicsWithValue(t, "ouch", func() {
		_ = mw(func(context.Context, *bus.Delivery) error { panic("ouch") })(t.Context(), oneDelivery("1"))
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = mw(func(context.Context, *bus.Delivery) error { runtime.Goexit(); return nil })(t.Context(), oneDelivery("2"))
	})
	wg.Wait()
	assert.Len(t, j.with("level=ERROR", "id=1 ", "verdict=panicked", "ended its goroutine"), 1)
	assert.Len(t, j.with("level=ERROR", "id=2 ", "verdict=panicked"), 1)
}

func TestLogOfAPanicThatWasRecovered(t *testing.T) {
	var j journal
	chain := bus.Use(middleware.Log(j.logger(slog.LevelDebug)), middleware.Retry(middleware.RetryOptions{Tries: 1}), middleware.Recover())
	_ = chain.Wrap(func(context.Context, *bus.Delivery) error { panic("ouch") })(t.Context(), oneDelivery("1"))
	assert.Len(t, j.with("level=ERROR", "id=1 ", "verdict=panicked"), 1, j.lines())
}

func TestLogShowsNothingOfTheEvent(t *testing.T) {
	const canary = "canary"
	d := bus.NewDelivery(&transport.Delivery{Message: &bus.Message{
		ID: "1", Key: canary, ContentType: canary, Body: []byte(canary), Headers: transport.Headers{{Name: canary, Value: canary}},
	}}, nil)
	for _, o := range everyOutcome {
		var j journal
		_ = middleware.Log(j.logger(slog.LevelDebug))(returning(o.err))(t.Context(), d)
		_ = middleware.Timeout(1, j.logger(slog.LevelDebug))(returning(o.err))(t.Context(), d)
		assert.NotEmpty(t, j.lines())
		assert.Empty(t, j.with(canary))
	}
}

func TestLogOfWhatIsNotEnabledCostsNothing(t *testing.T) {
	var j journal
	assert.Zero(t, allocsOf(t, middleware.Log(j.logger(slog.LevelInfo))))
	assert.Empty(t, j.lines())
}

func TestLogWithoutALoggerUsesTheDefault(t *testing.T) {
	var j journal
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(j.logger(slog.LevelDebug))
	_ = middleware.Log(nil)(returning(nil))(t.Context(), oneDelivery("17"))
	assert.Len(t, j.with("id=17"), 1)
}

func BenchmarkLog(b *testing.B) {
	var j journal
	costOf(b, middleware.Log(j.logger(slog.LevelInfo)))
}

// BenchmarkLogDebug writes the record.
func BenchmarkLogDebug(b *testing.B) {
	costOf(b, middleware.Log(slog.New(slog.NewTextHandler(discard{}, &slog.HandlerOptions{Level: slog.LevelDebug}))))
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
