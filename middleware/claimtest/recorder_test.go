package claimtest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// A recorder is a test that only notes how it ends, so that a clause can be seen to fail.
type recorder struct {
	testing.TB
	ctx context.Context

	mu     sync.Mutex
	failed bool
	text   strings.Builder
}

// record runs a clause in a bubble and returns how it ended.
func record(t *testing.T, c clause, h Harness) (r *recorder) {
	synctest.Test(t, func(t *testing.T) {
		r = &recorder{TB: t, ctx: t.Context()}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.run(r, h)
		}()
		<-done
	})
	return r
}

func (r *recorder) Helper()                   {}
func (r *recorder) Context() context.Context  { return r.ctx }
func (r *recorder) Fatal(args ...any)         { r.note(fmt.Sprintln(args...)) }
func (r *recorder) Fatalf(f string, a ...any) { r.note(fmt.Sprintf(f+"\n", a...)) }

func (r *recorder) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
	r.text.WriteString(text)
	runtime.Goexit()
}
