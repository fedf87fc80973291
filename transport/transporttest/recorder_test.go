package transporttest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A recorder is a test that only notes how it ends, so that a clause can be seen to fail.
type recorder struct {
	testing.TB
	ctx context.Context

	mu       sync.Mutex
	failed   bool
	skipped  bool
	text     strings.Builder
	cleanups []func()
}

// record runs a clause in a bubble and returns how it ended.
func record(t *testing.T, c clause, h Harness) (r *recorder) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r = &recorder{TB: t, ctx: ctx}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer r.recovered()
			c.run(r, h)
		}()
		<-done
		cancel()
		for i := len(r.cleanups) - 1; i >= 0; i-- {
			r.cleanups[i]()
		}
		time.Sleep(100_000 * time.Hour) // in the bubble: what a fault has started ends
	})
	return r
}

// recovered counts a panic as a failure: a check may fall over what a broken transport returns.
func (r *recorder) recovered() {
	if p := recover(); p != nil {
		r.Error("panic:", p)
	}
}

func (r *recorder) note(fail, skip bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.failed || fail
	r.skipped = r.skipped || skip
	r.text.WriteString(text)
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Cleanup(f func())         { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Failed() bool             { r.mu.Lock(); defer r.mu.Unlock(); return r.failed }
func (r *recorder) Log(args ...any)          { r.note(false, false, fmt.Sprintln(args...)) }
func (r *recorder) Logf(f string, a ...any)  { r.note(false, false, fmt.Sprintf(f+"\n", a...)) }
func (r *recorder) Error(args ...any)        { r.note(true, false, fmt.Sprintln(args...)) }
func (r *recorder) Errorf(f string, a ...any) {
	r.note(true, false, fmt.Sprintf(f+"\n", a...))
}
func (r *recorder) FailNow()                  { r.note(true, false, ""); runtime.Goexit() }
func (r *recorder) Fatal(args ...any)         { r.Error(args...); runtime.Goexit() }
func (r *recorder) Fatalf(f string, a ...any) { r.Errorf(f, a...); runtime.Goexit() }
func (r *recorder) SkipNow()                  { r.note(false, true, ""); runtime.Goexit() }
func (r *recorder) Skipf(f string, a ...any)  { r.Logf(f, a...); r.SkipNow() }
