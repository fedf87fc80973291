package middleware

// KeysOf tells how many keys a limiter of PerSecond remembers.
func KeysOf(l Limiter) int {
	bs := l.(*buckets)
	bs.mu.Lock()
	defer bs.mu.Unlock()
	keys := len(bs.young)
	for key := range bs.old {
		if bs.young[key] == nil {
			keys++
		}
	}
	return keys
}
