package redisstream

// attend looks after what a subscription needs besides itself.
func (t *Transport) attend(s *subscription) {
	t.mover.attend(t, s.keys.retryMove())
	t.mover.attend(t, s.keys.topicMove())
}

func (t *Transport) disregard(s *subscription) {
	t.mover.disregard(s.keys.retryMove())
	t.mover.disregard(s.keys.topicMove())
}

// start runs f until it returns, and says whether it does: not when the transport is closing. Close waits for it.
func (t *Transport) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Go(f)
	return true
}
