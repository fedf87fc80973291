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

	nemesis  func(*run) // until nothing is published any more; nil for none
	promises check.Promises
	measure  func(*run) // what else is promised
}

const lease = 2 * time.Second

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
		consuming:  consuming{Lease: lease, Work: 5 * time.Millisecond},
		nemesis:    func(r *run) { r.killConsumers(200 * time.Millisecond) },
		measure:    func(r *run) { r.orphans(lease + lease/4 + time.Second) },
	},
}
