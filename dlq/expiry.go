package dlq

import (
	"fmt"
	"time"

	"github.com/typedbus/typedbus/bus"
)

// expiresHeader is the header that [Expires] sets: a time in RFC 3339.
const expiresHeader = "typedbus-expires"

// Expires is an option of Publish: from t on, by the clock of who handles it, the event is not worth handling any more, and
// [Route] sends it to the dead letters. It sets the header "typedbus-expires" to t in RFC 3339; the zero time sets nothing. A
// header that is no such time, because another program wrote it, is ignored.
func Expires(t time.Time) bus.PublishOption {
	if t.IsZero() {
		return nil
	}
	return bus.Header(expiresHeader, t.UTC().Format(time.RFC3339Nano))
}

// expired says why it is too late for m, nil if it is not.
func expired(m *bus.Message, maxAge time.Duration) error {
	if maxAge > 0 && !m.Time.IsZero() {
		if age := time.Since(m.Time); age > maxAge {
			return fmt.Errorf("stored %v ago, and worth handling for %v", age.Round(time.Millisecond), maxAge)
		}
	}
	text, ok := m.Headers.Lookup(expiresHeader)
	if !ok {
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || time.Now().Before(t) {
		return nil
	}
	return fmt.Errorf("expired at %s", t.Format(time.RFC3339))
}
