package chaos

import (
	"time"

	"github.com/typedbus/typedbus/internal/chaos/child"
)

// networkRows are what befalls the network, and the clock.
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
		id: "G9", fault: "1 % of all replies to consumers lost", quick: 10_000, full: 200_000, consumers: 4, behind: consumers,
		publishing: child.Publishing{Rate: 1000},
		consuming:  child.Consuming{Lease: 5 * lease, Work: 5 * time.Millisecond},
		nemesis:    losing(0.01, calm),
		measure:    []func(*run){waits(2 * lease)},
	},
}
