package chaos

import (
	"time"

	"github.com/typedbus/typedbus/internal/chaos/check"
	"github.com/typedbus/typedbus/internal/chaos/child"
)

// serverRows are what befalls the server.
var serverRows = []row{
	{
		id: "G6", fault: "kill -9 of Redis every 4 s, AOF always", quick: 12_000, full: 200_000, consumers: 4,
		flags:      append(aof[:3:3], "always"),
		publishing: child.Publishing{Rate: 1000},
		consuming:  many,
		nemesis:    every(4*time.Second, crash("kill -9, AOF always")),
		measure:    []func(*run){resumes(2 * time.Second)},
	},
	{
		id: "G6b", fault: "kill -9 of Redis every 4 s, AOF everysec", quick: 12_000, full: 200_000, consumers: 4,
		flags:      append(aof[:3:3], "everysec"),
		publishing: child.Publishing{Rate: 1000},
		consuming:  many,
		nemesis:    every(4*time.Second, crash("kill -9, AOF everysec")),
		measure:    []func(*run){resumes(2 * time.Second)},
	},
	{
		id: "G7", fault: "kill -9 of Redis without persistence every 4 s", quick: 10_000, full: 100_000, consumers: 4,
		publishing: child.Publishing{Rate: 1000},
		consuming:  many,
		nemesis:    every(4*time.Second, crash("data loss: kill -9 without persistence")),
		promises:   check.Promises{MayLose: true, MayRewind: true},
		measure:    []func(*run){resumes(2 * time.Second), lossReported, toldOnce, quiet(time.Second)},
	},
	{
		id: "G7b", fault: "FLUSHALL every 4 s", quick: 10_000, full: 100_000, consumers: 4,
		publishing: child.Publishing{Rate: 1000},
		consuming:  many,
		nemesis:    every(4*time.Second, flush),
		promises:   check.Promises{MayLose: true, MayRewind: true},
		measure:    []func(*run){resumes(2 * time.Second), lossReported, toldOnce, quiet(time.Second)},
	},
	{
		id: "G7c", fault: "DEL of the topic's stream, or eviction of all, every 4 s", quick: 10_000, full: 100_000, consumers: 4,
		publishing: child.Publishing{Rate: 1000},
		consuming:  many,
		nemesis:    every(4*time.Second, drop, evict),
		promises:   check.Promises{MayLose: true, MayRewind: true},
		measure:    []func(*run){resumes(2 * time.Second), lossReported, toldOnce, quiet(time.Second)},
	},
	{
		id: "G16", fault: "Redis is full for 2 s every 2 s; a tenth of the events fails once, a fiftieth always",
		quick: 6_000, full: 50_000, consumers: 4,
		publishing: child.Publishing{Rate: 500, Fates: []child.Fate{child.Every(10, child.FailsOnce), child.Every(50, child.FailsAlways)}},
		consuming:  child.Consuming{Lease: lease, Work: 5 * time.Millisecond, Attempts: 3, Backoff: 500 * time.Millisecond},
		nemesis:    every(2*time.Second, fill(2*time.Second)),
		measure:    []func(*run){backPressure, letters},
	},
}
