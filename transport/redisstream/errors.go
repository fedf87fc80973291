package redisstream

import "fmt"

// clarify says in plain words what an error of Redis means and what to do about it. op is what was tried ("publish
// orders.placed"), key the stream it was about.
func (t *Transport) clarify(op, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redisstream: %s: %w", op, err)
}
