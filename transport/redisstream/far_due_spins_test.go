package redisstream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// a foreign delayed message far in the future is no reason to ask all the time.
func TestFarDueDoesNotSpin(t *testing.T) {
	b := newBench(t)
	b.subscribe(b.tr, transport.Group{Name: "g"})
	due := float64(time.Now().UnixMilli()) + 1.3e13 // in 412 years
	require.NoError(t, b.client.HSet(t.Context(), "{orders}:due:body", "m", "\x92\xa4data\xa1x").Err())
	require.NoError(t, b.client.ZAdd(t.Context(), "{orders}:due", redis.Z{Score: due, Member: "m"}).Err())
	<-time.After(3 * time.Second) // in which it would ask thousands of times
	calls := func() string {
		for l := range strings.Lines(b.client.Info(t.Context(), "commandstats").Val()) {
			if strings.HasPrefix(l, "cmdstat_zrangebyscore:") {
				return l
			}
		}
		return ""
	}
	var n int
	_, err := fmt.Sscanf(calls(), "cmdstat_zrangebyscore:calls=%d", &n)
	require.NoError(t, err)
	t.Log(n)
	assert.Less(t, n, 20)
}
