package middleware

// Len is how many claims m has in memory.
func (m *MemoryClaims) Len() (n int) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.claims)
		s.mu.Unlock()
	}
	return n
}
