package chaos

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/chaos/history"
)

// A fault is written down when it is complete: what was written before it came before it.

// kill kills one consumer after the other, as kill -9 does, and starts another in its place.
func kill(every time.Duration) func(*run) {
	return func(r *run) {
		for r.during(every) {
			r.kill(r.rand.IntN(len(r.consumers)))
		}
	}
}

func (r *run) kill(i int) {
	c := r.consumers[i]
	c.signal(syscall.SIGKILL)
	<-c.ended
	r.inject(history.Killed, c.Name, "kill -9")
	r.spawn(i)
}

// freeze stops a consumer for some leases, and the next.
func freeze(leases int) func(*run) {
	return func(r *run) {
		for more := r.during(time.Second); more; more = r.during(r.consuming.Lease / 2) {
			c := r.consumers[r.rand.IntN(len(r.consumers))]
			c.signal(syscall.SIGSTOP)
			r.inject(history.Paused, c.Name, "SIGSTOP")
			r.during(time.Duration(leases) * r.consuming.Lease)
			r.inject(history.Resumed, c.Name, "SIGCONT")
			c.signal(syscall.SIGCONT)
		}
	}
}

// crash kills the server and starts it again.
func crash(every time.Duration, text string) func(*run) {
	return func(r *run) {
		for r.during(every) {
			r.server.Kill()
			r.inject(history.Fault, "server", text)
			r.server.Restart()
			r.inject(history.Healed, "server", text)
		}
	}
}

// flush empties the server.
func flush(every time.Duration) func(*run) {
	return func(r *run) {
		for r.during(every) {
			require.NoError(r, r.redis.FlushAll(r.Context()).Err())
			r.inject(history.Fault, "server", "data loss: FLUSHALL")
			r.inject(history.Healed, "server", "data loss: FLUSHALL")
		}
	}
}

// stall lets replies to the other side of the proxy be lost, and the server stand still.
func stall(every, length time.Duration, loss float64, requests ...string) func(*run) {
	return func(r *run) {
		r.lose(loss, requests...)
		for r.during(every) {
			r.server.Pause()
			r.inject(history.Fault, "server", "it stands still")
			r.during(length)
			r.server.Resume()
			r.inject(history.Healed, "server", "it stands still")
		}
		r.foundAgain()
	}
}

// loseReplies loses the replies to some requests, or to all, until nothing is left to do.
func loseReplies(loss float64, requests ...string) func(*run) {
	return func(r *run) {
		r.lose(loss, requests...)
		for r.busy(100 * time.Millisecond) {
			continue
		}
		r.foundAgain()
	}
}

func (r *run) lose(loss float64, requests ...string) {
	dice := rand.New(rand.NewPCG(r.rand.Uint64(), 0)) // Lose calls it under a lock
	r.log.add(history.Record{What: history.Fault, Process: "network", Text: fmt.Sprint("loses replies: ", loss)})
	r.proxy.Lose(func(request []byte) bool {
		return dice.Float64() < loss && (len(requests) == 0 || containsAny(bytes.ToUpper(request), requests))
	})
}

func (r *run) foundAgain() {
	r.proxy.Lose(nil)
	r.log.add(history.Record{What: history.Healed, Process: "network", Text: "loses replies"})
	r.faults += r.proxy.Lost()
	assert.Positive(r, r.proxy.Lost(), "replies were lost")
}

func containsAny(b []byte, words []string) bool {
	for _, w := range words {
		if bytes.Contains(b, []byte(w)) {
			return true
		}
	}
	return false
}

// terminate sends a SIGTERM to one consumer after the other, waits for its end, and starts another in its place.
func terminate(every time.Duration) func(*run) {
	return func(r *run) {
		for r.during(every) {
			i := r.rand.IntN(len(r.consumers))
			c, began := r.consumers[i], time.Now()
			c.signal(syscall.SIGTERM)
			r.spawn(i)
			assert.NoError(r, c.wait(), "a consumer that was asked to end")
			r.inject(history.Fault, c.Name, "SIGTERM")
			r.recovery = append(r.recovery, time.Since(began))
		}
	}
}

// fill lets the server be full for a time.
func fill(every, length time.Duration) func(*run) {
	return func(r *run) {
		for r.during(every) {
			require.NoError(r, r.redis.ConfigSet(r.Context(), "maxmemory", "1").Err())
			r.inject(history.Fault, "server", "full")
			pause(r.Context(), length)
			require.NoError(r, r.redis.ConfigSet(r.Context(), "maxmemory", "0").Err())
			r.inject(history.Healed, "server", "full")
		}
	}
}

// killAndForget kills consumers and lets the server forget its scripts.
func killAndForget(every, forget time.Duration) func(*run) {
	return func(r *run) {
		for last := time.Now(); r.busy(forget); {
			require.NoError(r, r.redis.ScriptFlush(r.Context()).Err())
			r.inject(history.Fault, "server", "SCRIPT FLUSH")
			r.log.add(history.Record{What: history.Healed, Process: "server", Text: "SCRIPT FLUSH"})
			if time.Since(last) > every && r.publisher.running() {
				last = time.Now()
				r.kill(r.rand.IntN(len(r.consumers)))
			}
		}
	}
}

// revive starts another consumer for each that ends by itself, until nothing is left to do.
func revive(r *run) {
	for r.busy(20 * time.Millisecond) {
		for i, c := range r.consumers {
			if !c.running() {
				r.inject(history.Killed, c.Name, "it ended itself")
				r.spawn(i)
			}
		}
	}
}
