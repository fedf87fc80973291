package child

import (
	"sync"
	"time"

	"github.com/typedbus/typedbus/internal/chaos/history"
)

// lookEvery is how often a process looks at the clock.
const lookEvery = 20 * time.Millisecond

// noteStalls writes down, until stop is called, when the process stood still for so long: on a busy machine that happens without
// anybody pausing it, and has the same consequences.
func noteStalls(log *history.Writer, long time.Duration) (stop func()) {
	var watching sync.WaitGroup
	over := make(chan struct{})
	watching.Go(func() {
		ticks := time.NewTicker(lookEvery)
		defer ticks.Stop()
		for last := history.Now(); ; {
			select {
			case <-over:
				return
			case <-ticks.C:
			}
			now := history.Now()
			if time.Duration(now-last) > long {
				log.Keep(history.Record{At: last, What: history.Paused, Text: "it stood still"})
				log.Keep(history.Record{At: now, What: history.Resumed, Text: "it stood still"})
			}
			last = now
		}
	})
	return func() { close(over); watching.Wait() }
}
