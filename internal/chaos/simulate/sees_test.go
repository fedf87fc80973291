package simulate_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

// A simulation that cannot see is worthless: what is broken on purpose is noticed soon.
func TestSabotageIsSeen(t *testing.T) {
	for _, s := range []sabotage{forgetsStages, endsFailures, repeatsDone, dropsDead, endsReleases, doublesOutputs} {
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(100) {
				var w *world
				synctest.Test(t, func(*testing.T) {
					w = newWorld(seed, s)
					w.run()
				})
				if len(w.breaches) > 0 {
					t.Logf("seen with seed %d: %s", seed, w.breaches[0])
					return
				}
			}
			assert.Fail(t, "not seen in 100 seeds")
		})
	}
}
