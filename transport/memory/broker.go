package memory

import (
	"sync"
	"sync/atomic"

	"github.com/typedbus/typedbus/transport"
)

// A broker holds the topics. It lasts as long as one of its transports is open.
type broker struct {
	topics sync.Map       // name to *topic: read at each publish, written once for each topic
	timers sync.WaitGroup // the alarms that are set or ringing
	away   atomic.Bool    // see Outage

	mu     sync.Mutex // guards creating topics, and opening and leaving
	count  int
	closed bool
}

func newBroker() *broker { return &broker{} }

func (b *broker) open() *Transport {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := &Transport{broker: b, subs: map[*subscription]struct{}{}}
	if b.closed {
		t.closed.Store(true)
		return t
	}
	b.count++
	return t
}

// leave stops the alarms when the last transport has gone, and waits for those that ring.
func (b *broker) leave() {
	b.mu.Lock()
	b.count--
	b.closed = b.count == 0
	last := b.closed
	b.mu.Unlock()
	if !last {
		return
	}
	b.topics.Range(func(_, t any) bool {
		t.(*topic).stop()
		return true
	})
	b.timers.Wait()
}

// topic returns the topic of that name, and makes it where there is none.
func (b *broker) topic(name string) (*topic, error) {
	if t, ok := b.topics.Load(name); ok {
		return t.(*topic), nil
	}
	if err := transport.CheckName("topic", name); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, transport.ErrClosed
	}
	t, ok := b.topics.Load(name)
	if !ok {
		t = newTopic(b, name)
		b.topics.Store(name, t)
	}
	return t.(*topic), nil
}

// existing returns the topic of that name, or nil.
func (b *broker) existing(name string) *topic {
	if t, ok := b.topics.Load(name); ok {
		return t.(*topic)
	}
	return nil
}
