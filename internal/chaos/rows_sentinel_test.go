package chaos

import (
	"time"

	"github.com/typedbus/typedbus/internal/chaos/check"
	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// durable is what a failover must not lose once it is confirmed.
var durable = transport.Durability{Replicas: 1, Timeout: 300 * time.Millisecond}

// unavailable is for how long nothing works after the master died: what the sentinel takes to notice, and 3 s.
const unavailable = redistest.DownAfter + 3*time.Second

// sentinelRows are with a Sentinel.
var sentinelRows = []row{
	{
		id: "G12", fault: "Sentinel: kill -9 of the master, whose replica is in sync; Durable with 1 replica",
		quick: 4_500, full: 50_000, consumers: 4, at: watched(),
		publishing: child.Publishing{Rate: 400, Durable: durable},
		consuming:  many,
		nemesis:    every(time.Second, promotion),
		promises:   check.Promises{MayRewind: true},
		measure:    []func(*run){outages(unavailable), storedOnce, rollbacks},
	},
	{
		id: "G12b", fault: "Sentinel: kill -9 of the master, whose replica is in sync",
		quick: 6_000, full: 50_000, consumers: 4, at: watched(),
		publishing: child.Publishing{Rate: 400},
		consuming:  many,
		nemesis:    every(time.Second, promotion),
		promises:   check.Promises{MayLose: true, MayRewind: true},
		measure:    []func(*run){outages(unavailable), storedOnce, rollbacks},
	},
	{
		id: "G12c", fault: "Sentinel: SENTINEL FAILOVER, and the old master goes on for ten seconds as if it were one",
		quick: 6_000, full: 20_000, consumers: 4, at: watched(),
		publishing: child.Publishing{Rate: 400},
		consuming:  many,
		nemesis:    every(time.Second, handover),
		promises:   check.Promises{MayLose: true, MayRewind: true},
		measure:    []func(*run){deserted(3 * time.Second), storedOnce, rollbacks},
	},
	{
		id: "G13", fault: "Sentinel: the replica is cut off for 2 s, then kill -9 of the master; Durable with 1 replica",
		quick: 3_000, full: 20_000, consumers: 4, at: watched(),
		publishing: child.Publishing{Rate: 400, Durable: durable},
		consuming:  many,
		nemesis:    every(time.Second, severed(2*time.Second)),
		promises:   check.Promises{MayRewind: true},
		measure:    []func(*run){outages(unavailable), storedOnce, shortages, rollbacks},
	},
	{
		id: "G13b", fault: "Sentinel: the replica is cut off for 2 s, then kill -9 of the master",
		quick: 6_000, full: 20_000, consumers: 4, at: watched(),
		publishing: child.Publishing{Rate: 400},
		consuming:  many,
		nemesis:    every(time.Second, severed(2*time.Second)),
		promises:   check.Promises{MayLose: true, MayRewind: true},
		measure:    []func(*run){outages(unavailable), storedOnce, rollbacks},
	},
}
