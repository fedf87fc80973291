package record

import (
	"context"
	"errors"
	"log/slog"

	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/transport"
)

// Losses is a handler of the bus' log that writes down the messages which the bus says may be lost, and passes all on to next,
// which may be nil. Dead letters that their bound removes are no such loss.
func Losses(l history.Log, next slog.Handler) slog.Handler {
	if next == nil {
		next = slog.DiscardHandler
	}
	return losses{next, l}
}

type losses struct {
	next slog.Handler
	to   history.Log
}

// Enabled is true for what may be a loss, whatever next wants to see.
func (h losses) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || h.next.Enabled(ctx, level)
}

func (h losses) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		err, _ := a.Value.Any().(error)
		var loss *transport.LossError
		if errors.As(err, &loss) && !loss.Letters {
			h.to.Log(history.Record{What: history.Loss, Text: loss.Error()})
		}
		return true
	})
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

func (h losses) WithAttrs(as []slog.Attr) slog.Handler { return losses{h.next.WithAttrs(as), h.to} }

func (h losses) WithGroup(name string) slog.Handler { return losses{h.next.WithGroup(name), h.to} }
