package history

import (
	"fmt"
	"syscall"
	"unsafe"
)

// clockMonotonic is the clock that the kernel counts for all processes alike. That of package time has another zero in each.
const clockMonotonic = 1

// Now is the time of the machine's monotonic clock, in nanoseconds. It is comparable between processes, and means nothing else.
func Now() int64 {
	var t syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&t)), 0)
	if errno != 0 {
		panic(fmt.Sprintf("history: the machine has no monotonic clock: %v", errno))
	}
	return t.Nano()
}
