package redistest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestClockSetsWhatTheServerTakesForTheTime(t *testing.T) {
	s, clock := StartClock(t)
	c, ctx := s.Client(), t.Context()
	add := func() *redis.XAddArgs { return &redis.XAddArgs{Stream: "s", Values: []string{"a", "b"}} }
	require.NoError(t, c.XAdd(ctx, add()).Err())
	require.NoError(t, c.XGroupCreate(ctx, "s", "g", "0").Err())
	require.NoError(t, c.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{"s", ">"}}).Err())
	idle := func() time.Duration {
		p, err := c.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: "s", Group: "g", Start: "-", End: "+", Count: 1}).Result()
		require.NoError(t, err)
		return p[0].Idle
	}
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour, -1500 * time.Millisecond} {
		clock.Set(ahead)
		require.NoError(t, Eventually(time.Second, func(ctx context.Context) error {
			now, err := c.Time(ctx).Result()
			if off := time.Until(now.Add(-ahead)).Abs(); err == nil && off > 500*time.Millisecond {
				err = fmt.Errorf("the server's clock is wrong by %v", off)
			}
			return err
		}))
		if ahead > 0 {
			require.GreaterOrEqual(t, idle(), ahead)
		} else if ahead < 0 {
			require.Zero(t, idle(), "what was delivered in the future is not idle")
		}
	}
	s.Kill()
	s.Restart()
	now, err := s.Client().Time(ctx).Result()
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(-1500*time.Millisecond), now, 500*time.Millisecond, "after a restart too")
}
