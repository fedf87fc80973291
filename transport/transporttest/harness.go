package transporttest

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// A Harness is what the suite must know about a transport. Broker is required, the zero value of the rest works.
type Harness struct {
	// Broker returns a broker for one clause: a new one, or one that others use too, since each clause has topics of its
	// own. It may be called concurrently. What it starts it ends with t.Cleanup.
	Broker func(t testing.TB) Broker

	// Lease is used where a clause waits for leases to run out; 0 means one second. Shorter is faster, but a machine that
	// stands still for as long breaks clauses that the transport keeps.
	Lease time.Duration

	// Patience is how long the suite waits for what must come; 0 means 15 seconds.
	Patience time.Duration

	// Quiet is how long the suite waits to see that nothing comes; 0 means 300 milliseconds, or two minutes in a bubble.
	Quiet time.Duration

	// Parallel is how many clauses run at a time outside bubbles; 0 means 16, since most of them wait. It is independent of
	// the -parallel flag.
	Parallel int

	// Bubble runs each clause in a [synctest.Test] bubble, one after the other: for transports without network or files,
	// whose time is then virtual.
	Bubble bool
}

// A Broker is one broker, and what the suite does to it that the contract has no words for. Open and Crash are required. A
// clause that needs another function is skipped where it is nil, so leave out only what the transport cannot provide.
// None of them is called concurrently.
type Broker struct {
	// Open returns another transport on this broker, as another process would have it. The suite closes it.
	Open func() transport.Transport

	// Crash ends a consumer as if its process were killed: its renewals and everything else stop, and the broker is told
	// nothing. The subscription is not used again, but its transport is.
	Crash func(transport.Subscription)

	// Stall stops a consumer's renewals and reads, as if its process were suspended, until resume is called. Settle is
	// called on it meanwhile, and must reach the broker.
	Stall func(transport.Subscription) (resume func())

	// Outage makes the broker unreachable for everybody, until heal is called. It keeps what it had stored.
	Outage func() (heal func())

	// Inject stores something in a topic that is no message of the transport's format.
	Inject func(t transport.Topic)

	// Position is the position of the nth message stored in a topic, from 0, in the form that [transport.Start] takes.
	Position func(t transport.Topic, n int) string

	// Stored is how many messages a topic keeps at this moment.
	Stored func(t transport.Topic) int
}

// Run checks every clause of the contract, each in a subtest with its name.
func Run(t *testing.T, h Harness) {
	h = h.withDefaults()
	if h.Bubble {
		for _, c := range clauses() {
			t.Run(c.name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { c.run(t, h) }) })
		}
		return
	}
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, h.Parallel)
	for _, c := range clauses() {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			t.Run(c.name, func(t *testing.T) { c.run(t, h) })
		})
	}
}

func (h Harness) withDefaults() Harness {
	if h.Lease <= 0 {
		h.Lease = time.Second
	}
	if h.Parallel <= 0 {
		h.Parallel = 16
	}
	if h.Patience <= 0 {
		h.Patience = 15 * time.Second
	}
	if h.Quiet <= 0 {
		h.Quiet = 300 * time.Millisecond
		if h.Bubble {
			h.Quiet = 2 * time.Minute
		}
	}
	return h
}

// A clause is one sentence of the contract and a check that it holds. Several clauses may share a sentence.
type clause struct {
	name  string
	says  string // verbatim, but for white space
	check func(*env)
}

func (c clause) run(t testing.TB, h Harness) {
	t.Helper()
	e := &env{TB: t, clause: c, h: h, run: transport.NewID()}
	t.Cleanup(e.background.Wait) // registered first, so that transports are closed before
	b := h.Broker(t)
	if b.Open == nil || b.Crash == nil {
		t.Fatal("transporttest: Broker: Open and Crash are required: set both")
	}
	e.broker = b
	c.check(e)
}

// clauses is the whole suite, in the order of the contract.
func clauses() (all []clause) {
	for _, part := range [][]clause{
		publishClauses, dedupClauses, durableClauses, delayClauses, messageClauses, subscribeClauses, receiveClauses, leaseClauses, settleClauses,
		stageClauses, lostClauses, closeClauses, letterClauses, replayClauses, boundClauses, archiveClauses, actClauses,
		lagClauses, pulseClauses, retentionClauses, abandonClauses, malformedClauses, outageClauses, manyClauses,
	} {
		all = append(all, part...)
	}
	return all
}
