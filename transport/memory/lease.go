package memory

import (
	"slices"
	"strconv"
	"strings"

	"github.com/typedbus/typedbus/transport"
)

// A lease is an item in the hands of a consumer.
type lease struct {
	leaseName
	item     *item
	delivery *transport.Delivery
	lost     bool
}

// A leaseName is what a receipt says.
type leaseName struct {
	slot   int
	number uint64 // unique within the subscription, and rising; 0 marks a free slot
}

// leases are what a subscription holds, found by the receipt "slot-number" without a map.
type leases struct {
	slots []lease
	free  []int
	count uint64
}

func (ls *leases) add(it *item, d *transport.Delivery) leaseName {
	if len(ls.free) == 0 {
		ls.free = append(ls.free, len(ls.slots))
		ls.slots = append(ls.slots, lease{})
	}
	last := len(ls.free) - 1
	slot := ls.free[last]
	ls.free = ls.free[:last]
	ls.count++
	name := leaseName{slot, ls.count}
	ls.slots[slot] = lease{leaseName: name, item: it, delivery: d}
	return name
}

// find returns the lease a receipt names, nil if it is settled. ok is false if no such receipt was ever given.
func (ls *leases) find(receipt string) (l *lease, ok bool) {
	a, b, _ := strings.Cut(receipt, "-")
	slot, err1 := strconv.ParseUint(a, 10, 31)
	number, err2 := strconv.ParseUint(b, 10, 64)
	if err1 != nil || err2 != nil || slot >= uint64(len(ls.slots)) || number == 0 || number > ls.count {
		return nil, false
	}
	if l = &ls.slots[slot]; l.number != number {
		return nil, true
	}
	return l, true
}

func (ls *leases) remove(l *lease) {
	ls.free = append(ls.free, l.slot)
	*l = lease{}
}

// held returns the leases in force, in the order they were given.
func (ls *leases) held() (held []lease) {
	for _, l := range ls.slots {
		if l.number != 0 && !l.lost {
			held = append(held, l)
		}
	}
	slices.SortFunc(held, func(a, b lease) int { return int(a.number) - int(b.number) })
	return held
}

// loseAll marks all leases as lost and returns those that were in force.
func (ls *leases) loseAll() []lease {
	held := ls.held()
	for i := range ls.slots {
		ls.slots[i].lost = true
	}
	return held
}
