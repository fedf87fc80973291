package middleware

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/typedbus/typedbus/bus"
)

// Log writes one record a delivery, when it has been handled: topic, group, id, attempt, redelivered, duration, verdict, and
// the text of the error where there is one. Of the event it shows neither payload nor headers nor key.
//
//	Debug  handled, snoozed
//	Info   paused, cut short
//	Warn   failed
//	Error  permanently failed, dead-lettered, panicked
//
// A panic, or a runtime.Goexit, passes through. One that [Recover] made an error of is logged as panicked too. A level that l does not take costs no record.
//
// The bus logs what is no plain success, too, and what it does about it. To have one line a delivery, leave Log out, or give
// the bus a logger of its own ([bus.Logger]) that takes Error only: that keeps what Log cannot know, as lost events and
// handlers that hang.
//
// Its place is outside all that changes the verdict. l may be nil for [slog.Default]. It may be used for many subscriptions,
// concurrently.
func Log(l *slog.Logger) bus.Middleware {
	l = cmp.Or(l, slog.Default())
	return bus.Describe(bus.Layer{Name: "middleware.Log"}, func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) (err error) {
			began := time.Now()
			err = errNoReturn // unless next returns
			defer func() {
				if level, verdict := verdictFor(ctx, err); l.Enabled(ctx, level) {
					l.LogAttrs(ctx, level, "delivery", outcomeFacts(d, time.Since(began), verdict, err)...)
				}
			}()
			err = next(ctx, d)
			return err
		}
	})
}

var errNoReturn = errors.New("the handler panicked, or ended its goroutine")

// verdictFor puts an outcome into a word, and weighs it.
func verdictFor(ctx context.Context, err error) (slog.Level, string) {
	if err == errNoReturn {
		return slog.LevelError, "panicked"
	}
	kind := bus.VerdictOf(err).Kind
	switch kind {
	case bus.Handled, bus.Snoozed:
		return slog.LevelDebug, kind.String()
	case bus.Paused:
		return slog.LevelInfo, kind.String()
	case bus.Failed:
		if p := (*bus.PanicError)(nil); errors.As(err, &p) {
			return slog.LevelError, "panicked"
		}
		if bus.CutShort(ctx) {
			return slog.LevelInfo, "cut short"
		}
		return slog.LevelWarn, kind.String()
	}
	return slog.LevelError, kind.String()
}

func outcomeFacts(d *bus.Delivery, took time.Duration, verdict string, err error) []slog.Attr {
	facts := append(deliveryFacts(d), slog.Int("redelivered", d.Redelivered), slog.Duration("duration", took), slog.String("verdict", verdict))
	if err != nil {
		facts = append(facts, slog.String("error", err.Error()))
	}
	return facts
}
