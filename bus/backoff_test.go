package bus_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/bus"
)

func TestBackoffDoublesUpToItsMaximum(t *testing.T) {
	b := bus.Backoff{NoJitter: true}
	for attempt, want := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second, 10: 5 * time.Minute, 1000: 5 * time.Minute,
	} {
		assert.Equal(t, want, b.After(attempt), "attempt %d", attempt)
	}
	assert.Equal(t, time.Hour, bus.Backoff{Min: time.Hour, NoJitter: true}.After(3), "Max is at least Min")
}

func TestBackoffIsNeverNegativeNorOverItsMaximum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := bus.Backoff{
			Min: time.Duration(rapid.Int64().Draw(t, "min")),
			Max: time.Duration(rapid.Int64().Draw(t, "max")),
		}
		attempt := rapid.IntRange(1, 1<<40).Draw(t, "attempt")
		longest := b
		longest.NoJitter = true
		if d := b.After(attempt); d <= 0 || d > longest.After(attempt) {
			t.Fatalf("%v after attempt %d, longest %v", d, attempt, longest.After(attempt))
		}
	})
}
