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

// A fault befalls a run. It is written down when it is complete, so that what was written before it came before it.
type fault func(*run)

// every lets one of the faults, by chance, befall the run from time to time, until nothing is published any more.
func every(d time.Duration, faults ...fault) fault {
	return func(r *run) {
		for r.during(d) {
			faults[r.rand.IntN(len(faults))](r)
		}
	}
}

// inTurn lets one befall the run after the other.
func inTurn(faults ...fault) fault {
	return func(r *run) {
		for _, f := range faults {
			f(r)
		}
	}
}

// kill ends a consumer as kill -9 does, and starts another in its place.
func kill(r *run) {
	i, c := r.anyConsumer()
	c.signal(syscall.SIGKILL)
	<-c.ended
	r.inject(history.Killed, c.Name, "kill -9")
	r.spawn(i)
}

// terminate asks a consumer to end, starts another in its place and waits for the end.
func terminate(r *run) {
	i, c := r.anyConsumer()
	<-c.ready
	began := time.Now()
	c.signal(syscall.SIGTERM)
	r.spawn(i)
	assert.NoError(r, c.wait(), "a consumer that was asked to end")
	r.exits = append(r.exits, time.Since(began))
	r.inject(history.Fault, c.Name, "SIGTERM")
	r.heal(c.Name, "SIGTERM")
}

// freeze stops a consumer for some leases.
func freeze(leases int) fault {
	return func(r *run) {
		_, c := r.anyConsumer()
		c.signal(syscall.SIGSTOP)
		r.inject(history.Paused, c.Name, "SIGSTOP")
		r.pause(time.Duration(leases) * r.consuming.Lease)
		r.log.Log(history.Record{What: history.Resumed, Process: c.Name, Text: "SIGCONT"})
		c.signal(syscall.SIGCONT)
	}
}

// crash kills the server and starts it again.
func crash(text string) fault {
	return func(r *run) {
		r.server.Kill()
		r.inject(history.Fault, "server", text)
		r.server.Restart()
		r.heal("server", text)
	}
}

// flush empties the server.
func flush(r *run) {
	require.NoError(r, r.redis.FlushAll(r.Context()).Err())
	r.inject(history.Fault, "server", "data loss: FLUSHALL")
	r.heal("server", "data loss: FLUSHALL")
}

// forget has the server forget its scripts.
func forget(r *run) {
	require.NoError(r, r.redis.ScriptFlush(r.Context()).Err())
	r.inject(history.Fault, "server", "SCRIPT FLUSH")
	r.heal("server", "SCRIPT FLUSH")
}

// stall lets the server stand still for a time.
func stall(length time.Duration) fault {
	return func(r *run) {
		r.server.Pause()
		r.inject(history.Fault, "server", "it stands still")
		r.pause(length)
		r.server.Resume()
		r.heal("server", "it stands still")
	}
}

// fill lets the server be full for a time.
func fill(length time.Duration) fault {
	return func(r *run) {
		require.NoError(r, r.redis.ConfigSet(r.Context(), "maxmemory", "1").Err())
		r.inject(history.Fault, "server", "full")
		r.pause(length)
		require.NoError(r, r.redis.ConfigSet(r.Context(), "maxmemory", "0").Err())
		r.heal("server", "full")
	}
}

// losing loses some of the replies to requests that contain one of the words, or to any, while others befall the run.
func losing(part float64, others fault, words ...string) fault {
	return func(r *run) {
		dice := rand.New(rand.NewPCG(r.rand.Uint64(), 0)) // Lose asks under a lock
		text := fmt.Sprintf("replies are lost: %g", part)
		r.log.Log(history.Record{What: history.Fault, Process: "network", Text: text})
		r.proxy.Lose(func(request []byte) bool {
			return dice.Float64() < part && (len(words) == 0 || containsAny(bytes.ToUpper(request), words))
		})
		others(r)
		r.proxy.Lose(nil)
		r.heal("network", text)
		r.faults += r.proxy.Lost()
		assert.Positive(r, r.proxy.Lost(), "replies were lost")
	}
}

func containsAny(b []byte, words []string) bool {
	for _, w := range words {
		if bytes.Contains(b, []byte(w)) {
			return true
		}
	}
	return false
}

// calm waits until nothing is left to do.
func calm(r *run) {
	for r.busy(100 * time.Millisecond) {
		continue
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

func (r *run) anyConsumer() (int, *process) {
	i := r.rand.IntN(len(r.consumers))
	return i, r.consumers[i]
}

// inject writes a fault down and counts it.
func (r *run) inject(what history.What, process, text string) {
	r.faults++
	r.log.Log(history.Record{What: what, Process: process, Text: text})
}

// heal writes down that a fault is over.
func (r *run) heal(process, text string) {
	r.log.Log(history.Record{What: history.Healed, Process: process, Text: text})
}
