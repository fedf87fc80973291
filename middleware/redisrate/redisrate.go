// Package redisrate limits the rate of many processes together: a [middleware.Limiter] whose tokens are in Redis.
package redisrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/middleware"
)

// Limit is how much may go, all processes together. In any time t it is at most Burst + Rate*t/Period.
type Limit struct {
	Rate   int           // tokens in a Period; must be at least 1
	Period time.Duration // default 1s
	Burst  int           // tokens that are saved up; default Rate

	// Prefix begins the names of the keys in Redis, after "rate:"; default "typedbus:". Limiters of the same prefix, Rate,
	// Period and Burst share their tokens. Those of different limits need different prefixes.
	Prefix string
}

// New makes a limiter on a client that stays the caller's; a *redis.Client, a *redis.ClusterClient or a *redis.Ring. It asks
// Redis once for each token, in one script on one key, with Redis' own clock, so that clocks of processes need not agree. Keys
// expire by themselves.
//
// It waits for Redis as long as the client does (ReadTimeout, MaxRetries). A request that the client sends again may take two
// tokens, never none. What is wrong with the arguments is an error of each Take.
func New(client redis.UniversalClient, l Limit) middleware.Limiter {
	l.Prefix = cmp.Or(l.Prefix, "typedbus:")
	l.Period = cmp.Or(l.Period, time.Second)
	l.Burst = cmp.Or(l.Burst, l.Rate)
	r := &limiter{limit: l, rate: redis_rate.Limit{Rate: l.Rate, Burst: l.Burst, Period: l.Period}}
	switch {
	case client == nil:
		r.err = errors.New("redisrate: nil client")
	case l.Rate < 1 || l.Burst < 1 || l.Period < 0:
		r.err = fmt.Errorf("redisrate: a limit of %v: Rate must be at least 1, Burst and Period not negative", r)
	default:
		r.redis = redis_rate.NewLimiter(client)
	}
	return r
}

type limiter struct {
	limit Limit
	rate  redis_rate.Limit
	redis *redis_rate.Limiter
	err   error // what is wrong with the declaration
}

func (r *limiter) String() string {
	return fmt.Sprintf("%d in %v, bursts of %d, all processes together", r.limit.Rate, r.limit.Period, r.limit.Burst)
}

// shortestWait is the least that asking Redis again is worth.
const shortestWait = time.Millisecond

// Take implements [middleware.Limiter].
func (r *limiter) Take(ctx context.Context, key string) (time.Duration, error) {
	if r.err != nil {
		return 0, r.err
	}
	answer, err := r.redis.Allow(ctx, r.limit.Prefix+key, r.rate)
	switch {
	case err != nil:
		return 0, fmt.Errorf("redisrate: %w", err)
	case answer.Allowed > 0:
		return 0, nil
	}
	return max(answer.RetryAfter, shortestWait), nil
}
