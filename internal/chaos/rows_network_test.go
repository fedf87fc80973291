package chaos

import (
	"slices"
	"time"

	"github.com/typedbus/typedbus/internal/chaos/child"
)

// networkRows are what befalls the network, and the clock.
var networkRows = slices.Concat(linkRows, clockRows)

// linkRows are what befalls the connections.
var linkRows = []row{
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
		id: "G9", fault: "1 % of all replies to consumers lost", quick: 6_000, full: 200_000, consumers: 4, behind: consumers,
		publishing: child.Publishing{Rate: 500},
		consuming:  child.Consuming{Lease: 15 * lease, Work: 5 * time.Millisecond},
		nemesis:    swallowing(0.01, calm),
		measure:    []func(*run){waits(time.Second)},
	},
	{
		// A claim is known by the two cursors with which it ends.
		id: "G9b", fault: "a fifth of the replies to claims lost; kill -9 of one of 4 consumers every 500 ms",
		quick: 6_000, full: 60_000, consumers: 4, behind: consumers,
		publishing: child.Publishing{Rate: 500},
		consuming:  many,
		nemesis:    swallowing(0.2, every(500*time.Millisecond, kill), "0-0\r\n$3\r\n0-0"),
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
		id: "G11", fault: "replies take 100 ± 50 ms and come in pieces of 64 bytes; connections are reset in the middle of 5 % of them",
		quick: 6_000, full: 50_000, consumers: 4, behind: publishers | consumers,
		publishing: child.Publishing{Rate: 400, Workers: 96},
		consuming:  many,
		nemesis:    bad(0.05),
		measure:    []func(*run){storedOnce},
	},
}

// clockRows are what befalls the clock of the server.
var clockRows = []row{
	{
		id: "G20", fault: "the server's clock leaps an hour forward every 3 s; some events are delayed, or fail", at: timed(),
		quick: 6_000, full: 40_000, consumers: 4,
		publishing: child.Publishing{Rate: 500, Delay: 2 * time.Second, Fates: someFail},
		consuming:  child.Consuming{Lease: lease, Work: 20 * time.Millisecond, Attempts: 3, Backoff: 500 * time.Millisecond},
		nemesis:    every(3*time.Second, ahead(time.Hour)),
		measure:    []func(*run){fewTwice, letters},
	},
	{
		id: "G20b", fault: "the server's clock is an hour back for 5 leases", at: timed(),
		quick: 7_500, full: 40_000, consumers: 4,
		publishing: child.Publishing{Rate: 500},
		consuming:  many,
		nemesis:    once(2*time.Second, back(time.Hour, 5*lease)),
		measure:    []func(*run){whileBack(2 * lease), fewTwice},
	},
	{
		// What a dead process held, was delayed or is to be tried again later waits until the clock has caught up.
		id: "G20c", fault: "kill -9 of one of 4 consumers, and the server's clock is an hour back for 5 leases; some events fail",
		at: timed(), quick: 7_500, full: 40_000, consumers: 4,
		publishing: child.Publishing{Rate: 500, Fates: someFail},
		consuming:  child.Consuming{Lease: lease, Work: 100 * time.Millisecond, Attempts: 3, Backoff: 500 * time.Millisecond},
		nemesis:    once(2*time.Second, killedThen(back(time.Hour, 5*lease))),
		measure:    []func(*run){stuck, letters},
	},
	{
		id: "G20d", fault: "the server's clock leaps by up to 500 ms either way every 20 ms; some events are delayed, or fail", at: timed(),
		quick: 5_000, full: 40_000, consumers: 4,
		publishing: child.Publishing{Rate: 500, Delay: 2 * time.Second, Fates: someFail},
		consuming:  child.Consuming{Lease: lease, Work: 20 * time.Millisecond, Attempts: 3, Backoff: 500 * time.Millisecond},
		nemesis:    trembling(500 * time.Millisecond),
		measure:    []func(*run){letters},
	},
}

// someFail are fates of events: a tenth fails once, a fiftieth always.
var someFail = []child.Fate{child.Every(10, child.FailsOnce), child.Every(50, child.FailsAlways)}
