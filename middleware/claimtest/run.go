package claimtest

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

// A Harness is what the suite must know about a store. Store is required, the zero value of the rest works.
type Harness struct {
	// Store returns a store for one clause: a new one, or one that others use too, since each clause has topics of its own. What
	// it returns opens the store, as another process would. Both may be called concurrently; what they start they end with
	// t.Cleanup.
	Store func(t testing.TB) (open func() middleware.Claims)

	// Expiry is used where a clause waits for claims to expire, or to be forgotten; 0 means 500 milliseconds.
	Expiry time.Duration

	// Patience is how long the suite waits for what must come; 0 means 15 seconds.
	Patience time.Duration

	// Bubble runs each clause in a [synctest.Test] bubble, whose time is virtual: for stores without network or files.
	Bubble bool
}

// Run checks every clause of the contract, each in a subtest with its name. Outside bubbles they run at the same time, since most
// of them wait.
func Run(t *testing.T, h Harness) {
	h = h.withDefaults()
	var running sync.WaitGroup
	defer running.Wait()
	for _, c := range clauses {
		if h.Bubble {
			t.Run(c.name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { c.run(t, h) }) })
			continue
		}
		running.Go(func() { t.Run(c.name, func(t *testing.T) { c.run(t, h) }) })
	}
}

func (h Harness) withDefaults() Harness {
	if h.Expiry <= 0 {
		h.Expiry = 500 * time.Millisecond
	}
	if h.Patience <= 0 {
		h.Patience = 15 * time.Second
	}
	return h
}

// A clause is one sentence of the contract, or a part of one, and a check that it holds. Several clauses may share a sentence.
type clause struct {
	name  string
	says  string // verbatim, but for white space
	check func(*env)
}

func (c clause) run(t testing.TB, h Harness) {
	t.Helper()
	if h.Store == nil {
		t.Fatal("claimtest: Harness.Store is required: set it")
	}
	open := h.Store(t)
	c.check(&env{TB: t, clause: c, h: h, topic: c.name + "." + transport.NewID(), a: open(), b: open()})
}
