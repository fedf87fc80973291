package claimtest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

// An env is what the check of a clause works with. It is the test itself, and the words the checks are written in.
type env struct {
	testing.TB
	clause clause
	h      Harness
	topic  string            // unique, so that a store which outlives the run has no leftovers for the next one
	a, b   middleware.Claims // of one store, as two processes have it
}

// long is an expiry, and a time to keep, that plays no part in a clause.
const long = 10 * time.Minute

// slack is how much earlier than asked something may end, because stores count in milliseconds.
func (e *env) slack() time.Duration {
	if e.h.Bubble {
		return 0
	}
	return 2 * time.Millisecond
}

// broken fails the clause, and prints the sentence that does not hold.
func (e *env) broken(format string, args ...any) {
	e.Helper()
	e.Fatalf("the contract says:\n\n\t%s\n\nbut %s", e.clause.says, fmt.Sprintf(format, args...))
}

func (e *env) must(what string, err error) {
	e.Helper()
	if err != nil {
		e.broken("%s failed: %v", what, err)
	}
}

// claim is one of the topic of this clause, for an owner.
func (e *env) claim(key, owner string) transport.Claim {
	return transport.Claim{Topic: e.topic, Group: "group", Key: key, Owner: owner}
}

func (e *env) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.Context(), e.h.Patience)
}

// state is what Begin says of a claim.
type state struct {
	done bool
	wait time.Duration
}

const (
	begun   = "begun"
	running = "running for another"
	done    = "done"
)

func (s state) name() string {
	switch {
	case s.done:
		return done
	case s.wait > 0:
		return running
	}
	return begun
}

func (s state) String() string {
	if s.wait == 0 {
		return s.name()
	}
	return fmt.Sprintf("%s for %v", s.name(), s.wait)
}

func (e *env) begin(c middleware.Claims, claim transport.Claim, expiry time.Duration) state {
	e.Helper()
	ctx, cancel := e.patient()
	defer cancel()
	done, wait, err := c.Begin(ctx, claim, expiry)
	e.must("Begin", err)
	if wait < 0 || done && wait != 0 {
		e.broken("Begin returned done %t and wait %v", done, wait)
	}
	return state{done, wait}
}

// begins sees that a claim is begun.
func (e *env) begins(c middleware.Claims, claim transport.Claim, expiry time.Duration) {
	e.Helper()
	if s := e.begin(c, claim, expiry); s.name() != begun {
		e.broken("the claim is %v, and cannot be begun", s)
	}
}

// runs sees that a claim runs for another owner than this one, for most at most, and returns for how long.
func (e *env) runs(c middleware.Claims, claim transport.Claim, most time.Duration) time.Duration {
	e.Helper()
	s := e.begin(c, claim, long)
	if s.name() != running || s.wait > most+e.slack() {
		e.broken("the claim is %v; it should run for another, for at most %v", s, most)
	}
	return s.wait
}

func (e *env) isDone(c middleware.Claims, claim transport.Claim) {
	e.Helper()
	if s := e.begin(c, claim, long); s.name() != done {
		e.broken("the claim is %v, not done", s)
	}
}

func (e *env) finish(c middleware.Claims, claim transport.Claim, keep time.Duration) {
	e.Helper()
	ctx, cancel := e.patient()
	defer cancel()
	e.must("Finish", c.Finish(ctx, claim, keep))
}

func (e *env) release(c middleware.Claims, claim transport.Claim) {
	e.Helper()
	ctx, cancel := e.patient()
	defer cancel()
	e.must("Release", c.Release(ctx, claim))
}

// renew sees that exactly the given claims are lost.
func (e *env) renew(c middleware.Claims, expiry time.Duration, cs []transport.Claim, want ...transport.Claim) {
	e.Helper()
	ctx, cancel := e.patient()
	defer cancel()
	lost, err := c.Renew(ctx, cs, expiry)
	e.must("Renew", err)
	if len(lost) != len(want) {
		e.broken("Renew returned %d claims as lost; %d would be right", len(lost), len(want))
	}
	for _, l := range want {
		if !slices.Contains(lost, l) {
			e.broken("Renew did not return %+v", l)
		}
	}
}

// wait lets time pass.
func (e *env) wait(d time.Duration) {
	e.Helper()
	select {
	case <-time.After(d):
	case <-e.Context().Done():
		e.Fatal("the test ended")
	}
}

// comesFree waits until a claim can be begun, and sees that the expiry of the harness has passed then since a moment before it
// was as it is, and that it stays so until then.
func (e *env) comesFree(claim transport.Claim, since time.Time, was string) {
	e.Helper()
	for {
		s := e.begin(e.b, claim, long)
		passed := time.Since(since)
		switch {
		case s.name() == begun && passed < e.h.Expiry-e.slack():
			e.broken("the claim could be begun after %v; %v would be right", passed, e.h.Expiry)
		case s.name() == begun:
			return
		case s.name() != was, s.wait > e.h.Expiry+e.slack():
			e.broken("the claim is %v", s)
		case passed > e.h.Expiry+e.h.Patience:
			e.broken("the claim cannot be begun after %v; %v would be right", passed, e.h.Expiry)
		}
		e.wait(20 * time.Millisecond)
	}
}
