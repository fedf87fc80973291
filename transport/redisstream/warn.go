package redisstream

// unsaidAtMost bounds what is kept until there is somebody to tell.
const unsaidAtMost = 16

// warn reports what no call returns: to Options.Warn or, so that it is not lost where none is set, to one subscription, the
// next one if there is none yet.
func (t *Transport) warn(err error) {
	tell := t.opts.Warn
	if tell == nil {
		tell = t.warnASubscription(err)
	}
	if tell != nil {
		tell(err)
	}
}

// warnASubscription returns whom to tell; nil if err is kept for the next subscription.
func (t *Transport) warnASubscription(err error) func(error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.subs {
		if s.group.Warn != nil {
			return s.group.Warn
		}
	}
	if len(t.unsaid) < unsaidAtMost {
		t.unsaid = append(t.unsaid, err)
	}
	return nil
}

// sayTo tells a new subscription what nobody was there for.
func (t *Transport) sayTo(s *subscription) {
	if s.group.Warn == nil {
		return
	}
	t.mu.Lock()
	unsaid := t.unsaid
	t.unsaid = nil
	t.mu.Unlock()
	for _, err := range unsaid {
		s.warn(err)
	}
}
