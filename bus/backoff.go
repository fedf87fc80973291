package bus

import (
	"math/rand/v2"
	"time"
)

// Backoff is how long a failed event waits before it is delivered again: exponential with full jitter, so that events that
// failed together do not come back together. The zero value is the default: 1 s doubling up to 5 min.
type Backoff struct {
	Min      time.Duration // the longest first wait; default 1s
	Max      time.Duration // the longest wait; default 5min, and at least Min
	NoJitter bool          // wait exactly the longest time of each step
}

// After returns the wait after the given attempt, 1 being the first: a random duration up to Min*2^(attempt-1), at most Max.
func (b Backoff) After(attempt int) time.Duration {
	b = b.resolved()
	d := b.Max
	if shift := max(attempt, 1) - 1; shift < 62 && b.Min <= b.Max>>shift {
		d = b.Min << shift
	}
	if b.NoJitter || d <= 0 {
		return d
	}
	return 1 + rand.N(d)
}

func (b Backoff) resolved() Backoff {
	if b.Min <= 0 {
		b.Min = time.Second
	}
	if b.Max <= 0 {
		b.Max = 5 * time.Minute
	}
	b.Max = max(b.Max, b.Min)
	return b
}
