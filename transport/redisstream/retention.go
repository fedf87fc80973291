package redisstream

func (t *Transport) attend(s *subscription)    {}
func (t *Transport) disregard(s *subscription) {}
