package simulate_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// dice are random numbers of one place: they depend on the seed and on what that place drew before, not on what others do.
type dice struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func newDice(seed uint64, of ...any) *dice {
	h := fnv.New64a()
	fmt.Fprintln(h, of...)
	return &dice{rnd: rand.New(rand.NewPCG(seed, h.Sum64()))}
}

// below returns a number from 0 to n-1.
func (d *dice) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rnd.IntN(n)
}

// one is true once in n times, never for n = 0.
func (d *dice) one(n int) bool { return n > 0 && d.below(n) == 0 }

// upTo returns a duration above 0: a timer that is over when it is made upsets the race detector.
func (d *dice) upTo(most time.Duration) time.Duration { return time.Duration(1 + d.below(int(most))) }

// A fault is something that goes wrong at one call.
type fault int

const (
	publishFails    fault = iota
	publishVanishes       // not stored, and nobody knows
	publishUnheard        // stored, and nobody knows
	publishPartly
	publishSlow
	subscribeFails
	subscribeUnheard // joined, and nobody knows
	receiveFails
	receiveFewer
	receiveSlow
	receiveUnheard // leased, and nobody knows
	leaseLost
	lossToldLate
	settleFails
	settleUnheard // ended, and nobody knows
	settlePartly
	settleSlow
	settleTooLate // the lease is lost just before
	settleRefused
	closeFails
	closeSlow
	claimFails
	claimUnheard
	handlerFails
	handlerPanics
	handlerExits
	handlerPermanent
	handlerSnoozes
	handlerPauses
	handlerGivesUp
	handlerSlow // longer than the lease
	handlerDeaf // ignores its context
	brokerAway
	processKilled
	processStalled
	faults
)

// weather is how often each fault strikes: once in so many calls, 0 for never.
type weather [faults]int

func newWeather(seed uint64) (w weather) {
	d := newDice(seed, "weather")
	calm := 1 + d.below(4) // of four faults so many are left out
	for f := range w {
		if d.below(4) >= calm-1 {
			w[f] = 2 + d.below(40)
		}
	}
	return w
}
