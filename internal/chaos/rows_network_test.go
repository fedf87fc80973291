package chaos

import (
	"time"

	"github.com/typedbus/typedbus/internal/chaos/child"
)

// networkRows are what befalls the network.
var networkRows = []row{
	{
		id: "G8", fault: "1 % of replies to publishers lost; Redis stands still for 900 ms every 2 s, read timeout 200 ms",
		quick: 10_000, full: 100_000, consumers: 4, behind: publishers, params: "?read_timeout=200ms",
		publishing: child.Publishing{Rate: 1000},
		consuming:  many,
		nemesis:    losing(0.01, every(2*time.Second, stall(900*time.Millisecond)), "XADD"),
		measure:    []func(*run){storedOnce, unknowns},
	},
	{
		// What a lost reply brought is adopted as soon as the connection is made again. Who waits for the lease instead is
		// ten times as late as fails.
		id: "G9", fault: "1 % of all replies to consumers lost", quick: 10_000, full: 200_000, consumers: 4, behind: consumers,
		publishing: child.Publishing{Rate: 1000},
		consuming:  child.Consuming{Lease: 15 * lease, Work: 5 * time.Millisecond},
		nemesis:    swallowing(0.01, calm),
		measure:    []func(*run){waits(time.Second)},
	},
	{
		// A reply to a claim is known by the cursor in its request.
		id: "G9b", fault: "half of the replies to claims lost; kill -9 of one of 4 consumers every 500 ms",
		quick: 6_000, full: 60_000, consumers: 4, behind: consumers,
		publishing: child.Publishing{Rate: 500},
		consuming:  many,
		nemesis:    swallowing(0.5, every(500*time.Millisecond, kill), "0-0"),
		measure:    []func(*run){orphans(lease + lease/4 + time.Second)},
	},
	{
		id: "G10", fault: "black hole for 12 s (full: 60 s), then old connections are reset", quick: 8_000, full: 40_000,
		consumers: 4, behind: publishers | consumers,
		publishing: child.Publishing{Rate: 400},
		consuming:  many,
		nemesis:    tidily(once(2*time.Second, blackHole)),
		measure:    []func(*run){storedOnce, eachResumes(2 * time.Second)},
	},
	{
		// A read that waits 2 s for events gives up 5 s later.
		id: "G10b", fault: "every 10 s all open connections of consumers are dead, and nobody is told", quick: 8_000, full: 40_000,
		consumers: 4, behind: consumers,
		publishing: child.Publishing{Rate: 400},
		consuming:  many,
		nemesis:    tidily(every(2*time.Second, strand)),
		measure:    []func(*run){eachResumes(8 * time.Second)},
	},
	{
		id: "G11", fault: "replies take 100 ± 50 ms and come in pieces of 64 bytes; connections are reset in the middle of 1 % of them",
		quick: 6_000, full: 50_000, consumers: 4, behind: publishers | consumers,
		publishing: child.Publishing{Rate: 400, Workers: 96},
		consuming:  many,
		nemesis:    bad(0.01),
		measure:    []func(*run){storedOnce},
	},
}
