package memory

import (
	"strconv"
	"strings"

	"github.com/typedbus/typedbus/transport"
)

// A parcel is all that one delivery needs, in one allocation.
type parcel struct {
	transport.Delivery
	message transport.Message
	item    item // of a first delivery
	stored  *transport.Message
	lease   leaseName
}

// maxParcels is how many deliveries share an allocation, and so stay in memory together.
const maxParcels = 32

// A batch is the deliveries that one Receive makes: leased under the group's lock, and filled without it, since copying
// bodies is most of the work. A subscription has one, which it uses again.
type batch struct {
	sub        *subscription
	left       int // how many may still be added
	deliveries []*transport.Delivery
	slabs      [][]parcel
	free       []parcel // the rest of the last slab
}

// begin makes room for a number of deliveries.
func (b *batch) begin(size int) *batch {
	b.left, b.deliveries = size, make([]*transport.Delivery, 0, size)
	return b
}

// fresh adds the first delivery of a message to this group.
func (b *batch) fresh(m *transport.Message, pos uint64) *item {
	p := b.parcel()
	p.item = item{msg: m, pos: pos, attempt: 1}
	b.add(p, &p.item)
	return &p.item
}

// again adds another delivery of an item.
func (b *batch) again(it *item) {
	it.state = leased
	b.add(b.parcel(), it)
}

func (b *batch) parcel() *parcel {
	if len(b.free) == 0 {
		b.free = make([]parcel, min(maxParcels, b.left))
		b.slabs = append(b.slabs, b.free)
	}
	p := &b.free[0]
	b.free = b.free[1:]
	return p
}

// add leases an item, and notes what fill needs.
func (b *batch) add(p *parcel, it *item) {
	p.Attempt, p.Redelivered, p.Replays = it.attempt, it.redelivered, it.replays
	p.stored = it.msg
	p.lease = b.sub.leases.add(it, &p.Delivery)
	b.deliveries = append(b.deliveries, &p.Delivery)
	b.left--
}

// fill makes the deliveries whole, each with a message of its own and a body of its own, and returns them.
func (b *batch) fill() []*transport.Delivery {
	var bodies copier
	var receipts strings.Builder
	ds := b.deliveries
	left := len(ds)
	for _, slab := range b.slabs {
		for i := range slab[:min(len(slab), left)] {
			p := &slab[i]
			p.message = *p.stored
			p.message.Body = bodies.copy(p.stored.Body, left)
			p.stored = nil
			p.Message = &p.message
			p.Topic, p.Group = b.sub.group.topic.name, b.sub.group.name
			p.Receipt = p.lease.receipt(&receipts, left)
			left--
		}
	}
	clear(b.slabs)
	b.slabs, b.free, b.deliveries = b.slabs[:0], nil, nil
	return ds
}

// receipt writes a receipt behind the others of its batch, and returns it. more is how many are still to come, this one
// included.
func (n leaseName) receipt(b *strings.Builder, more int) string {
	var buf [40]byte
	r := strconv.AppendInt(buf[:0], int64(n.slot), 10)
	r = append(r, '-')
	r = strconv.AppendUint(r, n.number, 10)
	if b.Cap() == 0 {
		b.Grow(len(r) * more)
	}
	from := b.Len()
	b.Write(r)
	return b.String()[from:]
}
