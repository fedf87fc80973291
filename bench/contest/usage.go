package contest

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// usage is what this process has used so far.
type usage struct {
	cpu    time.Duration
	server time.Duration
	allocs uint64
}

func usageNow() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{cpu: CPU(), allocs: m.Mallocs}
}

// CPU is the processor time of this process.
func CPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it cannot fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// PeakMemory is the largest resident set this process has had, in bytes, as /proc/self/status tells; 0 where there is none.
func PeakMemory() int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			var kb int64
			if _, err := fmt.Sscan(rest, &kb); err == nil {
				return kb << 10
			}
		}
	}
	return 0
}

// AllocsOf is how many allocations a call of f makes.
func AllocsOf(f func()) float64 {
	const n = 1000
	f() // what it makes once
	before := usageNow()
	for range n {
		f()
	}
	return float64(usageNow().allocs-before.allocs) / n
}
