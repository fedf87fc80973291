package chaos

import (
	"time"

	"github.com/typedbus/typedbus/internal/chaos/check"
	"github.com/typedbus/typedbus/internal/chaos/child"
)

// sqlWorker is the program with a database: its driver is not for the module of the library.
const sqlWorker = "../sqltest/chaosworker"

// effectRows are what must happen once: effects, outputs, and events that are published again.
var effectRows = []row{
	{
		id: "G3", fault: "kill -9 of one of 8 consumers every 200 ms; idempotency, effect and mark in one SQL transaction",
		quick: 3_000, full: 60_000, consumers: 8, program: sqlWorker, at: withDatabase,
		publishing: child.Publishing{Rate: 250},
		consuming:  child.Consuming{Lease: lease, Concurrency: 8, Work: 5 * time.Millisecond, Linger: 10 * time.Millisecond},
		nemesis:    readingEffects(every(200*time.Millisecond, kill)),
		promises:   check.Promises{OneEffect: true},
		measure:    []func(*run){oneEffectEach},
	},
	{
		id: "G3b", fault: "kill -9 of one of 8 consumers every 200 ms; idempotency, effect outside, mark after it",
		quick: 5_000, full: 100_000, consumers: 8,
		publishing: child.Publishing{Rate: 400},
		consuming:  child.Consuming{Lease: lease, Work: 5 * time.Millisecond, Effect: child.Claimed, Linger: 10 * time.Millisecond},
		nemesis:    every(200*time.Millisecond, kill),
		measure:    []func(*run){doublesExplained},
	},
	{
		id: "G3c", fault: "each handler publishes through its event; kill -9 of one of 8 consumers every 200 ms, 2 % of acknowledgements unanswered",
		quick: 5_000, full: 100_000, consumers: 8, behind: consumers,
		publishing: child.Publishing{Rate: 400},
		consuming:  child.Consuming{Lease: lease, Work: 5 * time.Millisecond, Effect: child.Relayed, Linger: 10 * time.Millisecond},
		nemesis:    losing(0.02, every(200*time.Millisecond, kill), "OUTPUT-OF-"),
		measure:    []func(*run){oneOutputEach},
	},
	{
		id: "G3d", fault: "G3c on a Cluster of 3, where outputs are relayed to another slot; kill -9 only", quick: 3_000, full: 50_000, consumers: 8,
		at:         clustered(3, 0),
		publishing: child.Publishing{Rate: 300},
		consuming:  child.Consuming{Lease: lease, Work: 5 * time.Millisecond, Effect: child.Relayed, Linger: 10 * time.Millisecond},
		nemesis:    relaying(every(200*time.Millisecond, kill)),
		measure:    []func(*run){oneOutputEach},
	},
	{
		id: "G8d", fault: "G8, and the topic has Dedup", quick: 6_000, full: 100_000, consumers: 4, behind: publishers, params: "?read_timeout=200ms",
		publishing: child.Publishing{Rate: 600, Dedup: time.Minute},
		consuming:  many,
		nemesis:    losing(0.01, every(2*time.Second, stall(900*time.Millisecond)), "EVAL"),
		promises:   check.Promises{Dedup: true},
		measure:    []func(*run){storedOnce, nothingUnknown},
	},
	{
		id: "G8b", fault: "G8d with batches of 20, 5 % of replies lost", quick: 6_000, full: 100_000, consumers: 4,
		behind: publishers, params: "?read_timeout=200ms",
		publishing: child.Publishing{Rate: 600, Dedup: time.Minute, Batch: 20},
		consuming:  many,
		nemesis:    losing(0.05, every(2*time.Second, stall(900*time.Millisecond)), "EVAL"),
		promises:   check.Promises{Dedup: true},
		measure:    []func(*run){storedOnce, nothingUnknown},
	},
}
