package bus

import "sync"

// outgoing is a message on its way out, used again where nothing can have kept it.
type outgoing struct {
	Message
	all  [1]*Message
	body []byte // empty: where the next body goes
}

var outgoings = sync.Pool{New: func() any {
	o := new(outgoing)
	o.all[0] = &o.Message
	return o
}}

func takeOutgoing() *outgoing { return outgoings.Get().(*outgoing) }

// usualBody is the largest body that room is kept for.
const usualBody = 16 << 10

// giveBack lets the next message have what o takes. A codec may have returned memory of its own, which must not be written to.
func (o *outgoing) giveBack() {
	if n := len(o.Message.Body); n > cap(o.body) && n <= usualBody {
		o.body = make([]byte, 0, 2*n)
	}
	o.Message = Message{}
	outgoings.Put(o)
}
