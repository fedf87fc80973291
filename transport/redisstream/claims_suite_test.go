package redisstream

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/claimtest"
)

// TestClaimsContract executes the contract of middleware.Claims on a real server and on a Cluster.
func TestClaimsContract(t *testing.T) {
	server := redistest.Start(t)
	claimtest.Run(t, claimtest.Harness{Store: claimStore(func() redis.UniversalClient { return server.Client() }, Options{})})
}

func TestClaimsContractOnCluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0)
	claimtest.Run(t, claimtest.Harness{
		Store: claimStore(func() redis.UniversalClient { return cluster.Client() }, Options{Prefix: "shop:"}),
	})
}

func claimStore(client func() redis.UniversalClient, o Options) func(testing.TB) func() middleware.Claims {
	return func(t testing.TB) func() middleware.Claims {
		return func() middleware.Claims {
			tr := New(client(), o)
			t.Cleanup(func() { tr.Close() })
			return tr
		}
	}
}
