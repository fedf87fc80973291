package bustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/typedbus/typedbus/bus"
)

// Start runs b and returns when every subscription is open. When the test ends, or stop is called, the bus is drained and
// waited for; a Run that returns an error fails the test. Stop may be called more than once. Close the transport after that: in a
// t.Cleanup registered before Start, or by defer if stop is deferred after it. A plain defer comes before every cleanup.
func Start(t testing.TB, b *bus.Bus) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("bustest: Run: %v", err)
		}
	})
	t.Cleanup(stop)
	until(t, "every subscription to be open", func() error {
		select {
		case err := <-ended:
			ended <- nil // for stop, which has nothing to add
			t.Fatalf("bustest: Run: %v", err)
		default:
		}
		return b.Ready()
	})
	return stop
}

// Settle waits until every group of b has handled all that was published: nothing undelivered, pending, waiting to be
// tried again, or delayed. It fails the test after 30 seconds; in a synctest bubble after a week, which takes no time.
func Settle(t testing.TB, b *bus.Bus) {
	t.Helper()
	var before bus.Stats
	until(t, "every event to be handled", func() error {
		now, err := settled(t.Context(), b)
		// Groups are looked at one after the other, and one may have published to another meanwhile.
		if err == nil && !slices.EqualFunc(before.Subscriptions, now.Subscriptions, sameCounts) {
			err = errors.New("events are being handled")
		}
		before = now
		return err
	})
}

// settled returns the figures, and an error if there is anything to do.
func settled(ctx context.Context, b *bus.Bus) (bus.Stats, error) {
	st, err := b.Stats(ctx)
	for _, s := range st.Subscriptions {
		l := s.Lag
		if err == nil && (l.Undelivered != 0 || l.Pending != 0 || l.Waiting != 0 || l.Delayed != 0) {
			err = fmt.Errorf("%s/%s: %d undelivered, %d pending, %d waiting, %d delayed (-1: the transport cannot tell)",
				s.Topic, s.Group, l.Undelivered, l.Pending, l.Waiting, l.Delayed)
		}
	}
	return st, err
}

func sameCounts(a, b bus.SubscriptionStats) bool { return a.Counts == b.Counts }

var processStart = time.Now()

// until asks check again and again until it returns nil, and fails the test with its error when that takes too long.
func until(t testing.TB, what string, check func() error) {
	t.Helper()
	limit, longest := 30*time.Second, 50*time.Millisecond
	begin := time.Now()
	if begin.Before(processStart) { // in a bubble, whose clock begins in the year 2000
		limit, longest = 7*24*time.Hour, time.Minute
	}
	for pause := time.Millisecond; ; pause = min(pause*3/2, longest) {
		err := check()
		if err == nil {
			return
		}
		if time.Since(begin) > limit {
			t.Fatalf("bustest: waited %v for %s: %v", limit, what, err)
		}
		select {
		case <-time.After(pause):
		case <-t.Context().Done():
			t.Fatalf("bustest: the test ended before %s: %v", what, err)
		}
	}
}
