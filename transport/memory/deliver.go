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
}

// maxParcels is how many deliveries share an allocation, and so stay in memory together.
const maxParcels = 32

// A batch is the deliveries that one Receive makes. The group's lock is held meanwhile.
type batch struct {
	sub        *subscription
	left       int // how many may still be added
	deliveries []*transport.Delivery
	parcels    []parcel
	bodies     copier
	receipts   strings.Builder
}

func newBatch(s *subscription, size int) *batch {
	return &batch{sub: s, left: size, deliveries: make([]*transport.Delivery, 0, size)}
}

// fresh adds the first delivery of a message to this group.
func (b *batch) fresh(m *transport.Message, pos uint64) *item {
	p := b.parcel()
	p.item = item{msg: m, pos: pos, attempt: 1}
	b.fill(p, &p.item)
	return &p.item
}

// again adds another delivery of an item.
func (b *batch) again(it *item) {
	it.state = leased
	b.fill(b.parcel(), it)
}

func (b *batch) parcel() *parcel {
	if len(b.parcels) == 0 {
		b.parcels = make([]parcel, min(maxParcels, b.left))
	}
	p := &b.parcels[0]
	b.parcels = b.parcels[1:]
	return p
}

// fill makes the delivery: a message of its own with a body of its own.
func (b *batch) fill(p *parcel, it *item) {
	p.message = *it.msg
	p.message.Body = b.bodies.copy(it.msg.Body, b.left)
	p.Delivery = transport.Delivery{
		Message:     &p.message,
		Topic:       b.sub.group.topic.name,
		Group:       b.sub.group.name,
		Attempt:     it.attempt,
		Redelivered: it.redelivered,
	}
	p.Receipt = b.receipt(b.sub.leases.add(it, &p.Delivery))
	b.deliveries = append(b.deliveries, &p.Delivery)
	b.left--
}

// receipt writes a receipt behind the others of the batch, and returns it.
func (b *batch) receipt(l *lease) string {
	var buf [40]byte
	r := strconv.AppendInt(buf[:0], int64(l.slot), 10)
	r = append(r, '-')
	r = strconv.AppendUint(r, l.number, 10)
	from := b.receipts.Len()
	if b.receipts.Cap() == 0 {
		b.receipts.Grow(len(r) * b.left)
	}
	b.receipts.Write(r)
	return b.receipts.String()[from:]
}
