package memory

import "github.com/typedbus/typedbus/transport"

// Stored is how many messages a topic keeps.
func (t *Transport) Stored(topic transport.Topic) int {
	tp, err := t.broker.topic(topic.Name)
	if err != nil {
		return 0
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return int(tp.log.len())
}
