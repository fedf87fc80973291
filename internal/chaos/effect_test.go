package chaos

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/chaos/history"
)

// TestOnlyACrashBeforeTheMarkExplainsADouble: a crash counts for the events whose effect is made and whose mark is not.
func TestOnlyACrashBeforeTheMarkExplainsADouble(t *testing.T) {
	w := windows{open: inFlight{}, effects: map[string]int{}, crashes: map[string]int{}}
	for _, h := range []history.Record{
		{Process: "a", What: history.Effect, ID: "marked"},
		{Process: "a", What: history.Effect, ID: "marked", Text: child.Marked},
		{Process: "a", What: history.Effect, ID: "open"},
		{Process: "b", What: history.Effect, ID: "of another"},
		{Process: "a", What: history.Killed},
		{Process: "b", What: history.Effect, ID: "open"},
	} {
		w.follow(h)
	}
	assert.Equal(t, map[string]int{"open": 1}, w.crashes)
	assert.Equal(t, map[string]int{"marked": 1, "open": 2, "of another": 1}, w.effects)
	assert.Equal(t, 1, w.all)
}
