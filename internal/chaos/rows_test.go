package chaos

import (
	"time"

	"github.com/typedbus/typedbus/internal/chaos/check"
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
	quick, full int      // events
	redis       []string // flags of the server
	behind      side
	params      string // of the URL of who is behind the proxy

	consumers  int
	publishing publishing
	consuming  consuming

	nemesis  fault // until nothing is published any more; nil for none
	promises check.Promises
	measure  []func(*run) // what else is promised
}

const lease = 2 * time.Second

var (
	aof  = []string{"--appendonly", "yes", "--appendfsync"}
	many = consuming{Lease: lease, Work: 20 * time.Millisecond}
)

// rows are the table, in the order in which they run.
var rows = []row{
	{
		id: "G1", fault: "none", quick: 50_000, full: 1_000_000, consumers: 8,
		publishing: publishing{Workers: 32},
		consuming:  consuming{Lease: lease},
		promises:   check.Promises{NoRepeats: true},
	},
	{
		id: "G2", fault: "kill -9 of one of 8 consumers every 200 ms", quick: 20_000, full: 1_000_000, consumers: 8,
		publishing: publishing{Rate: 2000},
		consuming:  many,
		nemesis:    every(200*time.Millisecond, kill),
		measure:    []func(*run){orphans(lease + lease/4 + time.Second)},
	},
	{
		id: "G4", fault: "SIGSTOP of a consumer for 3 leases, SIGCONT", quick: 10_000, full: 200_000, consumers: 4,
		publishing: publishing{Rate: 600},
		consuming:  consuming{Lease: lease, Work: 50 * time.Millisecond},
		nemesis:    every(time.Second, freeze(3)),
		measure:    []func(*run){wakings(100 * time.Millisecond), noForeignFailure},
	},
	{
		id: "G5", fault: "handlers that take 10 leases", quick: 512, full: 2048, consumers: 4,
		consuming: consuming{Lease: 500 * time.Millisecond, Work: 5 * time.Second, Steady: true, Concurrency: 64},
		promises:  check.Promises{NoRepeats: true},
	},
	{
		id: "G6", fault: "kill -9 of Redis every 4 s, AOF always", quick: 12_000, full: 200_000, consumers: 4,
		redis:      append(aof[:3:3], "always"),
		publishing: publishing{Rate: 1000},
		consuming:  many,
		nemesis:    every(4*time.Second, crash("kill -9, AOF always")),
		measure:    []func(*run){resumes(2 * time.Second)},
	},
	{
		id: "G6b", fault: "kill -9 of Redis every 4 s, AOF everysec", quick: 12_000, full: 200_000, consumers: 4,
		redis:      append(aof[:3:3], "everysec"),
		publishing: publishing{Rate: 1000},
		consuming:  many,
		nemesis:    every(4*time.Second, crash("kill -9, AOF everysec")),
		measure:    []func(*run){resumes(2 * time.Second)},
	},
	{
		id: "G8", fault: "1 % of replies to publishers lost; Redis stands still for 900 ms every 2 s, read timeout 200 ms",
		quick: 10_000, full: 100_000, consumers: 4, behind: publishers, params: "?read_timeout=200ms",
		publishing: publishing{Rate: 1000},
		consuming:  many,
		nemesis:    losing(0.01, every(2*time.Second, stall(900*time.Millisecond)), "XADD"),
		measure:    []func(*run){storedOnce, unknowns},
	},
	{
		id: "G22", fault: "SIGTERM to one of 4 consumers every 200 ms", quick: 10_000, full: 100_000, consumers: 4,
		publishing: publishing{Rate: 1000},
		consuming:  consuming{Lease: lease, Work: 50 * time.Millisecond},
		nemesis:    every(200*time.Millisecond, terminate),
		promises:   check.Promises{NoRepeats: true},
		measure:    []func(*run){noAttemptCounted},
	},
	{
		id: "G16", fault: "Redis is full for 2 s every 2 s; a tenth of the events fails once, a fiftieth always",
		quick: 6_000, full: 50_000, consumers: 4,
		publishing: publishing{Rate: 500, Fates: []fate{{10, failsOnce}, {50, failsAlways}}},
		consuming:  consuming{Lease: lease, Work: 5 * time.Millisecond, Attempts: 3, Backoff: 500 * time.Millisecond},
		nemesis:    every(2*time.Second, fill(2*time.Second)),
		measure:    []func(*run){backPressure, letters},
	},
	{
		id: "G7", fault: "kill -9 of Redis without persistence every 4 s", quick: 10_000, full: 100_000, consumers: 4,
		publishing: publishing{Rate: 1000},
		consuming:  many,
		nemesis:    every(4*time.Second, crash("data loss: kill -9 without persistence")),
		promises:   check.Promises{MayLose: true, MayRewind: true},
		measure:    []func(*run){resumes(2 * time.Second), lossReported},
	},
	{
		id: "G7b", fault: "FLUSHALL every 4 s", quick: 10_000, full: 100_000, consumers: 4,
		publishing: publishing{Rate: 1000},
		consuming:  many,
		nemesis:    every(4*time.Second, flush),
		promises:   check.Promises{MayLose: true, MayRewind: true},
		measure:    []func(*run){resumes(2 * time.Second), lossReported},
	},
	{
		id: "G9", fault: "1 % of all replies to consumers lost", quick: 10_000, full: 200_000, consumers: 4, behind: consumers,
		publishing: publishing{Rate: 1000},
		consuming:  consuming{Lease: 5 * lease, Work: 5 * time.Millisecond},
		nemesis:    losing(0.01, calm),
		measure:    []func(*run){waits(2 * lease)},
	},
	{
		id: "G19", fault: "delayed up to 3 s; every 50 ms SCRIPT FLUSH, or kill -9 of one of 8 consumers",
		quick: 5_000, full: 100_000, consumers: 8,
		publishing: publishing{Rate: 500, Delay: 3 * time.Second},
		consuming:  many,
		nemesis:    every(50*time.Millisecond, forget, forget, forget, kill),
		measure:    []func(*run){storedOnce, punctual},
	},
	{
		id: "G17", fault: "poison: handlers that panic or end the process, entries of random bytes", quick: 10_000, full: 100_000, consumers: 4,
		publishing: publishing{Rate: 1000, Fates: []fate{{1000, panics}, {3333, exits}}},
		consuming:  consuming{Lease: lease, Work: 2 * time.Millisecond, Attempts: 3, Backoff: 500 * time.Millisecond},
		nemesis:    poison(500, revive),
		promises:   check.Promises{MaxDead: 500},
		measure:    []func(*run){letters},
	},
	{
		id: "G18", fault: "half of the events fail always; kill -9 of one of 4 consumers every 300 ms", quick: 4_000, full: 20_000, consumers: 4,
		publishing: publishing{Rate: 500, Fates: []fate{{2, failsAlways}}},
		consuming:  consuming{Lease: lease, Work: 5 * time.Millisecond, Attempts: 3, Backoff: 500 * time.Millisecond},
		nemesis:    every(300*time.Millisecond, kill),
		measure:    []func(*run){letters, attempts},
	},
}

// soak is a row by itself: everything at once, for as long as one likes.
var soak = row{
	id: "soak", fault: "by chance: kill -9, SIGTERM, SIGSTOP, Redis killed, full, standing still or without its scripts; lost replies",
	redis: append(aof[:3:3], "always"), consumers: 8, behind: publishers | consumers,
	publishing: publishing{Rate: 500, Fates: []fate{{10, failsOnce}, {50, failsAlways}}},
	consuming:  consuming{Lease: lease, Work: 20 * time.Millisecond, Attempts: 3, Backoff: 2 * time.Second},
	nemesis: losing(0.0005, every(time.Second, kill, kill, kill, terminate, terminate, forget, freeze(2),
		crash("kill -9, AOF always"), fill(time.Second), stall(900*time.Millisecond))),
	promises: check.Promises{},
	measure:  []func(*run){letters},
}
