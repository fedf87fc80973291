package middleware

import (
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// unsure remembers the owners of claims whose Begin had no answer. They may run, and nobody handles anything under them: the next
// try of the same event takes over the owner, and need not wait until its own claim expires.
type unsure struct {
	mu    sync.Mutex
	since map[transport.Claim]ownerSince // by the claim without an owner
}

type ownerSince struct {
	owner string
	at    time.Time
}

// unsureMost bounds what is remembered. What is beyond it waits for the claim to expire.
const unsureMost = 1000

func (u *unsure) note(c transport.Claim, expiry time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.since == nil {
		u.since = map[transport.Claim]ownerSince{}
	}
	now := time.Now()
	if len(u.since) >= unsureMost {
		for c, o := range u.since {
			if now.Sub(o.at) > expiry {
				delete(u.since, c)
			}
		}
	}
	if len(u.since) < unsureMost {
		o := ownerSince{c.Owner, now}
		c.Owner = ""
		u.since[c] = o
	}
}

// take returns the owner of c, "" if none is known. Only one try gets it.
func (u *unsure) take(c transport.Claim) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.since) == 0 {
		return ""
	}
	o := u.since[c]
	delete(u.since, c)
	return o.owner
}
