package chaos

import (
	"slices"
	"time"

	"github.com/typedbus/typedbus/internal/chaos/check"
	"github.com/typedbus/typedbus/internal/chaos/child"
)

// A side is who speaks to the server through a proxy.
type side int

const (
	nobody     side = 0
	publishers side = 1 << iota
	consumers
)

// A row is a line of the table: a fault and what holds under it.
type row struct {
	id, fault   string
	quick, full int             // events
	at          func(*run) site // what it runs on; nil: one server
	flags       []string        // of that server
	behind      side
	params      string // of the URL of who is behind the proxy

	consumers  int
	topics     int // default 1
	publishing child.Publishing
	consuming  child.Consuming
	program    string // of the consumers, the directory of its package; "": this one
	alone      bool   // nothing else runs meanwhile: it takes the whole machine

	nemesis  fault // until nothing is published any more; nil for none
	promises check.Promises
	victims  int          // one of so many events may become a dead letter because others ended the processes that held it; 0: none
	measure  []func(*run) // what else is promised
}

const lease = 2 * time.Second

var (
	aof  = []string{"--appendonly", "yes", "--appendfsync"}
	many = child.Consuming{Lease: lease, Work: 20 * time.Millisecond}
)

// rows are the table.
var rows = slices.Concat(processRows, serverRows, failureRows, effectRows, networkRows, sentinelRows, clusterRows)

// processRows are what befalls the processes of the bus.
var processRows = []row{
	{
		id: "G1", fault: "none", quick: 50_000, full: 1_000_000, consumers: 8, alone: true,
		publishing: child.Publishing{Workers: 32},
		consuming:  child.Consuming{Lease: lease},
		promises:   check.Promises{NoRepeats: true},
	},
	{
		id: "G2", fault: "kill -9 of one of 8 consumers every 200 ms", quick: 20_000, full: 1_000_000, consumers: 8,
		publishing: child.Publishing{Rate: 2000},
		consuming:  many,
		nemesis:    every(200*time.Millisecond, kill),
		measure:    []func(*run){orphans(lease + lease/4 + time.Second)},
	},
	{
		id: "G4", fault: "SIGSTOP of a consumer for 3 leases, SIGCONT", quick: 10_000, full: 200_000, consumers: 4,
		publishing: child.Publishing{Rate: 600},
		consuming:  child.Consuming{Lease: lease, Work: 50 * time.Millisecond},
		nemesis:    every(time.Second, freeze(3)),
		measure:    []func(*run){wakings(100 * time.Millisecond), noForeignFailure},
	},
	{
		id: "G5", fault: "handlers that take 10 leases", quick: 512, full: 2048, consumers: 4,
		consuming: child.Consuming{Lease: 500 * time.Millisecond, Work: 5 * time.Second, Steady: true, Concurrency: 64},
		promises:  check.Promises{NoRepeats: true},
		measure:   []func(*run){scriptsPerTick(2.5)},
	},
	{
		id: "G22", fault: "SIGTERM to one of 4 consumers every 200 ms", quick: 10_000, full: 100_000, consumers: 4,
		publishing: child.Publishing{Rate: 1000},
		consuming:  child.Consuming{Lease: lease, Work: 50 * time.Millisecond},
		nemesis:    every(200*time.Millisecond, terminate),
		promises:   check.Promises{NoRepeats: true},
		measure:    []func(*run){noAttemptCounted, handedOver(time.Second)},
	},
	{
		id: "G21", fault: "none, but 1,000 subscriptions in one process", quick: 5_000, full: 50_000, consumers: 1, topics: 1000, alone: true,
		publishing: child.Publishing{Rate: 500},
		consuming:  child.Consuming{Lease: 6 * time.Second, Work: 3 * time.Second},
		nemesis:    watchConnections,
		promises:   check.Promises{NoRepeats: true},
		measure:    []func(*run){fewConnections(1000 + 50), noPoolTimeout},
	},
}

// soak is a row by itself: everything at once, for as long as one likes.
var soak = row{
	id: "soak", fault: "by chance: kill -9, SIGTERM, SIGSTOP, Redis killed, full, standing still or without its scripts; lost replies",
	flags: append(aof[:3:3], "always"), consumers: 8, behind: publishers | consumers,
	publishing: child.Publishing{Rate: 500, Fates: []child.Fate{child.Every(10, child.FailsOnce), child.Every(50, child.FailsAlways)}},
	consuming:  child.Consuming{Lease: lease, Work: 20 * time.Millisecond, Attempts: 3, Backoff: 2 * time.Second},
	nemesis: losing(0.0005, every(time.Second, kill, kill, kill, terminate, terminate, forget, freeze(2),
		crash("kill -9, AOF always"), fill(time.Second), stall(900*time.Millisecond))),
	promises: check.Promises{},
	measure:  []func(*run){letters},
}
