package check_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/chaos/check"
	"github.com/typedbus/typedbus/internal/chaos/history"
)

// BenchmarkCheck is a million events, a hundredth of them handled again after a kill, by 11,000 processes: 5 million records.
func BenchmarkCheck(b *testing.B) {
	const events = 1_000_000
	l := &legal{now: 1, end: check.End{Stored: map[string]int{}}, promise: check.Promises{Lease: lease, Dedup: true, Ordered: true}}
	for i := range events {
		id, p := fmt.Sprintf("0192f3a4-5b6c-7d8e-9fa0-%012d", i), fmt.Sprint("consumer-", i/1000)
		l.publish(id)
		if i%100 == 0 {
			l.numbered(ms, fmt.Sprint("killed-", i), history.Started, id, "", 1, 0)
			l.log(ms, fmt.Sprint("killed-", i), history.Killed, "", "")
			l.log(lease, "network", history.Fault, "", "cut")
			l.log(ms, "network", history.Healed, "", "cut")
		}
		l.handle(id, p)
	}
	for b.Loop() {
		require.Empty(b, check.Check(l.records, l.promise, l.end).Breaches)
	}
	b.ReportMetric(float64(len(l.records)), "records")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-of-process")
}
