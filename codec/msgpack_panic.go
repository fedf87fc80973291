package codec

import (
	"fmt"
	"runtime"
	"strings"
)

// A panicError is a panic of the msgpack library, as it has over some bodies and types. Its text leaves out the value
// of the panic, which may quote the body.
type panicError struct{ value any }

func (e panicError) Error() string {
	return fmt.Sprintf("codec: the msgpack library panicked (%T)", e.value)
}

// msgpackPanicked tells, in a deferred function, whether a panic is on that the msgpack library itself caused, rather
// than a method of the value. Only such a panic may be recovered: the other is a bug in the program, and its stack is
// what its author needs to see.
func msgpackPanicked() bool {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	panicking := false
	for {
		frame, more := frames.Next()
		switch {
		case frame.Function == "runtime.gopanic":
			panicking = true
		case panicking && !isRuntime(frame.Function):
			return strings.HasPrefix(frame.Function, "github.com/vmihailenco/msgpack/v5.")
		}
		if !more {
			return false
		}
	}
}

func isRuntime(function string) bool {
	for _, prefix := range []string{"runtime.", "reflect.", "internal/"} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return false
}
