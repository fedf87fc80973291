package middleware_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/middleware"
)

// TestEachLateHandlerIsReportedInItsTime: some return before others that began earlier, some in time, and one timer serves all.
func TestEachLateHandlerIsReportedInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log timed
		began := time.Now()
		log.since = began
		h := middleware.Timeout(10*time.Second, slog.New(slog.NewTextHandler(&log, nil)))(func(_ context.Context, d *bus.Delivery) error {
			took := map[string]time.Duration{"a": time.Minute, "b": 5 * time.Second, "c": 20 * time.Second, "d": time.Hour, "e": time.Second}
			<-time.After(took[d.ID])
			return nil
		})
		var wg sync.WaitGroup
		for i, id := range []string{"a", "b", "c", "d"} {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 3 * time.Second)
				assert.NoError(t, h(t.Context(), oneDelivery(id)))
			})
		}
		wg.Wait()
		assert.NoError(t, h(t.Context(), oneDelivery("e")), "after a time in which nobody was there")
		// Late is 11s after the beginning.
		assert.Equal(t, []string{"11s ERROR a", "17s ERROR c", "20s ERROR d", "26s WARN c", "1m0s WARN a", "1h0m9s WARN d"}, log.lines)
	})
}

// timed keeps, of each record, when it came, its level and its event.
type timed struct {
	mu    sync.Mutex
	since time.Time
	lines []string
}

func (l *timed) Write(record []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	facts := map[string]string{}
	for _, f := range strings.Fields(string(bytes.TrimSpace(record))) {
		name, value, _ := strings.Cut(f, "=")
		facts[name] = value
	}
	l.lines = append(l.lines, fmt.Sprintf("%v %s %s", time.Since(l.since), facts["level"], facts["id"]))
	return len(record), nil
}
