package chaos

import (
	"time"

	"github.com/typedbus/typedbus/internal/chaos/check"
	"github.com/typedbus/typedbus/internal/chaos/child"
)

// failureRows are events that cannot be handled, and those that wait.
var failureRows = []row{
	{
		id: "G17", fault: "poison: handlers that panic or end the process; bombs, nesting, random bytes", quick: 10_000, full: 100_000, consumers: 4,
		publishing: child.Publishing{Rate: 1000, Fates: []child.Fate{child.Every(1000, child.Panics), child.Every(3333, child.Exits)}},
		consuming:  child.Consuming{Lease: lease, Work: 2 * time.Millisecond, Attempts: 3, Backoff: 500 * time.Millisecond},
		nemesis:    poison(1000, revive),
		promises:   check.Promises{MaxDead: 1000},
		victims:    10_000,
		measure:    []func(*run){letters, rawKept, deathsBounded(5), leanIn256MiB},
	},
	{
		id: "G18", fault: "half of the events fail always; kill -9 of one of 4 consumers every 300 ms, 1 % of replies to them lost",
		quick: 4_000, full: 20_000, consumers: 4, behind: consumers,
		publishing: child.Publishing{Rate: 500, Fates: []child.Fate{child.Every(2, child.FailsAlways)}},
		consuming:  child.Consuming{Lease: lease, Work: 5 * time.Millisecond, Attempts: 3, Backoff: 500 * time.Millisecond},
		nemesis:    inTurn(losing(0.01, every(300*time.Millisecond, kill)), revive), // one that cannot join its group ends itself
		measure:    []func(*run){letters, attempts},
	},
	{
		id: "G19", fault: "delayed up to 3 s; every 50 ms SCRIPT FLUSH, or kill -9 of one of 8 consumers",
		quick: 5_000, full: 100_000, consumers: 8,
		publishing: child.Publishing{Rate: 500, Delay: 3 * time.Second},
		consuming:  many,
		nemesis:    every(50*time.Millisecond, forget, forget, forget, kill),
		measure:    []func(*run){storedOnce, punctual},
	},
}
