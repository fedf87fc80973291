package redisstream

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// BenchmarkConsume receives and settles, one consumer, with as many at a time as said. ns/op is by message.
func BenchmarkConsume(b *testing.B) {
	for _, v := range []transport.Verdict{transport.Done, transport.Failed} {
		for _, limit := range []int{1, 10, 100, 1000} {
			b.Run(fmt.Sprintf("%v/%d", v, limit), func(b *testing.B) {
				bench := newBench(b)
				s := bench.subscribe(bench.tr, transport.Group{Name: "g"})
				for left := b.N; left > 0; left -= 1000 {
					bench.publish(min(left, 1000))
				}
				b.ResetTimer()
				for left := b.N; left > 0; {
					ds, err := s.Receive(b.Context(), limit)
					require.NoError(b, err)
					ss := make([]transport.Settlement, 0, len(ds))
					for _, d := range ds {
						if d.Attempt > 1 {
							ss = append(ss, transport.Settlement{Delivery: d, Verdict: transport.Done})
							continue
						}
						ss = append(ss, transport.Settlement{Delivery: d, Verdict: v, After: time.Hour})
						left--
					}
					require.NoError(b, s.Settle(b.Context(), ss))
				}
			})
		}
	}
}
