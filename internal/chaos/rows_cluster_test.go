package chaos

import (
	"time"

	"github.com/typedbus/typedbus/internal/chaos/check"
	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/transport"
)

var (
	three = clustered(3, 0)
	six   = clustered(3, 1, append(aof[:3:3], "everysec")...)
)

// clusterRows are with a Cluster.
var clusterRows = []row{
	{
		id: "G14", fault: "the topic's slot moves between nodes of a Cluster every 2 s; delayed up to 1 s; some fail once, some always",
		quick: 5_000, full: 100_000, consumers: 3, at: three,
		publishing: child.Publishing{Rate: 400, Delay: time.Second,
			Fates: []child.Fate{child.Every(10, child.FailsOnce), child.Every(50, child.FailsAlways)}},
		consuming: child.Consuming{Lease: lease, Work: 20 * time.Millisecond, Attempts: 3, Backoff: 500 * time.Millisecond},
		nemesis:   probing(every(2*time.Second, moveSlot)),
		promises:  check.Promises{NoRepeats: true},
		measure:   []func(*run){letters, undisturbed},
	},
	{
		id: "G14b", fault: "the topic's slot moves between nodes of a Cluster every 2 s; Dedup",
		quick: 5_000, full: 100_000, consumers: 3, at: three,
		publishing: child.Publishing{Rate: 400, Dedup: 10 * time.Second},
		consuming:  many,
		nemesis:    probing(every(2*time.Second, moveSlot)),
		promises:   check.Promises{Dedup: true, NoRepeats: true},
		measure:    []func(*run){undisturbed, storedOnce, waits(5 * time.Second)},
	},
	{
		id: "G15", fault: "kill -9 of the topic's master in a Cluster, whose replica takes over; Durable with 1 replica",
		quick: 6_000, full: 50_000, consumers: 4, at: six,
		publishing: child.Publishing{Rate: 400, Workers: 64, Durable: transport.Durability{Replicas: 1, Timeout: time.Second}},
		consuming:  many,
		nemesis:    every(4*time.Second, killMaster),
		promises:   check.Promises{MayRewind: true},
		measure:    []func(*run){failsOver, nothingTakenBack},
	},
	{
		id: "G15b", fault: "kill -9 of the topic's master in a Cluster, whose replica takes over",
		quick: 6_000, full: 50_000, consumers: 4, at: six,
		publishing: child.Publishing{Rate: 400, Workers: 64},
		consuming:  many,
		nemesis:    every(4*time.Second, killMaster),
		promises:   check.Promises{MayLose: true, MayRewind: true},
		measure:    []func(*run){failsOver, takenBackIsSaid},
	},
}
