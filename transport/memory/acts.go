package memory

import (
	"slices"
	"strconv"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// keptActs is how many acts are kept at least; at most it is twice as many.
const keptActs = 10_000

// acts are what was done with the letters of a group. Their numbers follow each other. The group's lock guards them.
type acts struct {
	all   []transport.Act
	count uint64
}

func (as *acts) add(a transport.Act) {
	as.count++
	a.ActID, a.Time = strconv.FormatUint(as.count, 10), time.Now()
	if len(as.all) == 2*keptActs {
		as.all = slices.Delete(as.all, 0, keptActs)
	}
	as.all = append(as.all, a)
}

func (as *acts) page(after uint64, limit int) []transport.Act {
	gone := as.count - uint64(len(as.all))
	from := min(max(after, gone), as.count) - gone
	return slices.Clone(as.all[from:min(from+uint64(max(limit, 0)), uint64(len(as.all)))])
}
