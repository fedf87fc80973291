package bus

import (
	"log/slog"
	"sync"
	"time"
)

// A seldom is a warning that a whole load of events can cause at once, as when the broker was out of reach for a lease. The first
// is logged as it is; those of the following minute are counted, and told in one line when it is over, and so on.
type seldom struct {
	what string

	mu    sync.Mutex
	more  int
	timer *time.Timer // nil: the next is logged as it is
}

// warn logs to log, or counts for the line that is to come on all.
func (l *seldom) warn(all, log *slog.Logger) {
	l.mu.Lock()
	if l.timer != nil {
		l.more++
		l.mu.Unlock()
		return
	}
	l.timer = time.AfterFunc(sayAgainAfter, func() { l.again(all) })
	l.mu.Unlock()
	log.Warn(l.what)
}

// again tells how many there were. A minute without any ends the counting.
func (l *seldom) again(all *slog.Logger) {
	l.mu.Lock()
	more := l.more
	switch {
	case l.timer == nil: // flushed
	case more == 0:
		l.timer = nil
	default:
		l.more = 0
		l.timer.Reset(sayAgainAfter)
	}
	l.mu.Unlock()
	l.tell(all, more)
}

// flush tells what was counted, and does not wait for the minute to end.
func (l *seldom) flush(all *slog.Logger) {
	l.mu.Lock()
	more := l.more
	if l.timer != nil {
		l.timer.Stop()
	}
	l.timer, l.more = nil, 0
	l.mu.Unlock()
	l.tell(all, more)
}

func (l *seldom) tell(all *slog.Logger, more int) {
	if more > 0 {
		all.Warn(l.what, "more", more, "within", sayAgainAfter)
	}
}
