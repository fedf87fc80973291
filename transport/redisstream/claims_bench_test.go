package redisstream

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// BenchmarkClaims measures one call of each kind on claims of their own, a PING for comparison, and what beginning in a script
// would cost instead. ns/op with one caller is the round trip; with 64 it is the server's work.
func BenchmarkClaims(b *testing.B) {
	s := redistest.Start(b)
	c := s.Client()
	tr := New(c, Options{})
	defer tr.Close()
	claim := func(key string, i int64) transport.Claim {
		return transport.Claim{Topic: "orders.placed", Group: "billing", Key: key + strconv.FormatInt(i, 10), Owner: "0198c5d2-7a10-7cc3-98c4-dc0c0c07398f"}
	}
	require.NoError(b, tr.Finish(b.Context(), claim("done", 0), time.Hour))
	_, _, err := tr.Begin(b.Context(), claim("run", 0), time.Hour)
	require.NoError(b, err)
	ops := []struct {
		name string
		f    func(ctx context.Context, i int64) error
	}{
		{"ping", func(ctx context.Context, _ int64) error { return c.Ping(ctx).Err() }},
		{"begin", func(ctx context.Context, i int64) error {
			_, _, err := tr.Begin(ctx, claim("b", i), time.Minute)
			return err
		}},
		{"begin in a script", func(ctx context.Context, i int64) error {
			key := claimKey("", "orders.placed", "billing", "s"+strconv.FormatInt(i, 10))
			_, err := scriptBegin.run(ctx, c, []string{key}, claimRuns+"0198c5d2-7a10-7cc3-98c4-dc0c0c07398f", int64(60_000))
			return err
		}},
		{"begin what is done", func(ctx context.Context, _ int64) error {
			_, _, err := tr.Begin(ctx, claim("done", 0), time.Minute)
			return err
		}},
		{"begin what runs", func(ctx context.Context, _ int64) error {
			other := claim("run", 0)
			other.Owner = "another"
			_, _, err := tr.Begin(ctx, other, time.Minute)
			return err
		}},
		{"finish", func(ctx context.Context, i int64) error { return tr.Finish(ctx, claim("f", i), time.Minute) }},
		{"release", func(ctx context.Context, i int64) error { return tr.Release(ctx, claim("r", i)) }},
	}
	var n atomic.Int64
	for _, callers := range []int{1, 64} {
		for _, op := range ops {
			b.Run(fmt.Sprintf("%s/callers=%d", op.name, callers), func(b *testing.B) {
				ctx := b.Context()
				run(b, callers, func() error { return op.f(ctx, n.Add(1)) })
			})
		}
	}
}

// BenchmarkRememberedClaims measures what a claim that is done costs in Redis.
func BenchmarkRememberedClaims(b *testing.B) {
	c := redistest.Start(b).Client()
	pipe := c.Pipeline()
	used := func() (n float64) {
		n, err := strconv.ParseFloat(infoField(c.Info(b.Context(), "memory").Val(), "used_memory"), 64)
		require.NoError(b, err)
		return n
	}
	const claims = 100_000
	before := used()
	for b.Loop() {
		for range claims {
			pipe.Process(b.Context(), redis.NewStatusCmd(b.Context(), "set", claimKey("", "orders.placed", "billing", transport.NewID()), claimDone, "px", 3_600_000))
		}
		_, err := pipe.Exec(b.Context())
		require.NoError(b, err)
	}
	b.ReportMetric((used()-before)/float64(claims*b.N), "bytes/claim")
}
