package rivals

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// group is the consumer group of every rival on Redis Streams.
const group = "bench"

// settledIn is how many entries of a stream its group has read and acknowledged.
func settledIn(ctx context.Context, c *redis.Client, stream string) (int64, error) {
	infos, err := c.XInfoGroups(ctx, stream).Result()
	if err != nil {
		return 0, err
	}
	for _, g := range infos {
		if g.Name == group {
			return g.EntriesRead - g.Pending, nil
		}
	}
	return 0, fmt.Errorf("stream %s has no group %s", stream, group)
}
