package middleware

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A Limiter says when the next may go. Its methods may be called concurrently. [PerSecond] limits a process, middleware/redisrate
// many of them.
type Limiter interface {
	// Take takes a token of the key and returns 0, or takes nothing and returns how long to wait before it is worth asking again.
	// Who has to wait has nothing reserved: others may be faster. An error means that it is not known whether a token was taken.
	Take(ctx context.Context, key string) (wait time.Duration, err error)
}

// PerSecond is a [Limiter] in this process: each key gets rate tokens a second, and saves up to burst of them. In any time t it
// gives out at most burst + rate*t. A burst below 1 counts as 1. A rate that is not more than 0 is an error of each Take.
//
// Keys that have not been used for so long that they are full again take no memory.
func PerSecond(rate float64, burst int) Limiter { return newBuckets(rate, burst) }

// buckets are a token bucket a key. Those that are full again are forgotten: a bucket that nobody used for the time it takes to
// fill is as good as a new one. So two generations are enough, and there is nothing to sweep.
type buckets struct {
	limit rate.Limit
	burst int
	every time.Duration // from one token to the next, rounded up
	fill  time.Duration // from empty to full

	mu         sync.Mutex
	young, old map[string]*bucket
	born       time.Time // when young was
}

type bucket struct {
	tokens *rate.Limiter
	turns  []time.Time // that were given and are not over, in order
	late   time.Time   // the latest turn that was given again
}

// shortestFill keeps generations from changing too often.
const shortestFill = time.Second

func newBuckets(perSecond float64, burst int) *buckets {
	burst = max(burst, 1)
	return &buckets{
		limit: min(rate.Limit(perSecond), rate.Inf),
		burst: burst,
		every: seconds(1/perSecond) + time.Nanosecond,
		fill:  max(seconds(float64(burst)/perSecond), shortestFill),
		young: map[string]*bucket{},
	}
}

// seconds is a duration, of at most a century.
func seconds(s float64) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	return time.Duration(min(s, century.Seconds()) * float64(time.Second))
}

func (bs *buckets) String() string {
	return fmt.Sprintf("%.4g a second, bursts of %d", float64(bs.limit), bs.burst)
}

// Take implements [Limiter].
func (bs *buckets) Take(_ context.Context, key string) (time.Duration, error) {
	if !(bs.limit > 0) {
		return 0, fmt.Errorf("middleware: PerSecond(%v, %d): the rate must be more than 0", float64(bs.limit), bs.burst)
	}
	bs.mu.Lock()
	defer bs.mu.Unlock()
	_, wait := bs.take(key, time.Now()) // under the lock: a rate.Limiter that sees time go back gives too much
	return wait, nil
}

// turn takes a token, or gives a turn: how long to wait so that all who were told to wait come one after the other. Whoever
// comes when a turn has begun has that turn: nobody is known by name. If there is no token for it yet, because the one before came
// late, it gets the next token and not the last turn.
func (bs *buckets) turn(key string) time.Duration {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	now := time.Now()
	b, wait := bs.take(key, now)
	begun := len(b.turns) > 0 && !b.turns[0].After(now)
	if wait == 0 {
		if begun {
			b.turns = b.turns[1:]
		}
		return 0
	}
	next := now.Add(wait)
	if begun {
		next = latest(next, b.late.Add(bs.every))
		b.late = next
		b.putOff(next)
		return next.Sub(now)
	}
	if n := len(b.turns); n > 0 {
		next = latest(next, b.turns[n-1].Add(bs.every))
	}
	b.turns = append(b.turns, next)
	return next.Sub(now)
}

// putOff lets the first turn begin later.
func (b *bucket) putOff(to time.Time) {
	i := 0
	for ; i+1 < len(b.turns) && b.turns[i+1].Before(to); i++ {
		b.turns[i] = b.turns[i+1]
	}
	b.turns[i] = to
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// take takes a token, or says when there will be one. The caller has the lock.
func (bs *buckets) take(key string, now time.Time) (*bucket, time.Duration) {
	b := bs.bucket(key, now)
	if b.tokens.AllowN(now, 1) {
		return b, 0
	}
	missing := 1 - b.tokens.TokensAt(now)
	return b, seconds(math.Max(missing, 0)/float64(bs.limit)) + time.Nanosecond
}

func (bs *buckets) bucket(key string, now time.Time) *bucket {
	bs.age(now)
	b := bs.young[key]
	if b != nil {
		return b
	}
	if b = bs.old[key]; b == nil {
		b = &bucket{tokens: rate.NewLimiter(bs.limit, bs.burst)}
	}
	bs.young[key] = b
	return b
}

// age begins a new generation when the old one has been full for long.
func (bs *buckets) age(now time.Time) {
	if bs.born.IsZero() {
		bs.born = now
	}
	if age := now.Sub(bs.born); age >= 2*bs.fill {
		bs.old, bs.young, bs.born = nil, map[string]*bucket{}, now
	} else if age >= bs.fill {
		bs.old, bs.young, bs.born = bs.young, map[string]*bucket{}, now
	}
}
