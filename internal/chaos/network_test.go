package chaos

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/redistest"
)

// blackHole lets everything vanish for a time; then those who speak on old connections are told that nobody knows them.
func blackHole(r *run) {
	length := 12 * time.Second
	if *tier == "full" {
		length = time.Minute
	}
	r.proxy.BlackHole(true)
	r.inject(history.Fault, "network", "black hole")
	r.pause(length)
	r.proxy.Cut()
	r.proxy.BlackHole(false)
	r.heal("network", "black hole")
}

// strand leaves the open connections half open.
func strand(r *run) {
	r.proxy.Strand()
	r.inject(history.Fault, "network", "open connections are dead")
	r.heal("network", "open connections are dead")
	r.pause(10 * time.Second)
}

// once lets the fault befall the run after a time, and waits until nothing is left to do.
func once(after time.Duration, f fault) fault {
	return func(r *run) {
		if r.during(after) {
			f(r)
		}
		calm(r)
	}
}

// tidily lets the fault befall the run; then those who went through it have neither more goroutines nor connections than one
// who did not.
func tidily(f fault) fault {
	return func(r *run) {
		f(r)
		old := len(r.consumers)
		r.consumers = append(r.consumers, nil)
		r.spawn(old)
		fresh := r.consumers[old]
		<-fresh.ready
		calm(r)
		require.NoError(r, redistest.Eventually(20*time.Second, func(ctx context.Context) error {
			want := fresh.goroutines(ctx)
			for _, c := range r.consumers[:old] {
				if n := c.goroutines(ctx); n > want+2 {
					return fmt.Errorf("%s has %d goroutines, a new process %d", c.Name, n, want)
				}
			}
			return nil
		}))
		open, each := r.proxy.Conns(), 6 // a read, two for leases, and few for commands
		assert.LessOrEqual(r, open, each*len(r.consumers), "connections of %d consumers", len(r.consumers))
		r.note("then %d goroutines in a process, %d connections of %d processes", fresh.goroutines(r.Context()), open, len(r.consumers))
	}
}

// goroutines asks a process how many it has; a huge number if it does not answer before ctx ends.
func (p *process) goroutines(ctx context.Context) int {
	before := p.answers()
	p.signal(syscall.SIGUSR1)
	for ctx.Err() == nil {
		if as := p.answers(); len(as) > len(before) {
			return as[len(as)-1]
		}
		runtime.Gosched()
	}
	return 1 << 30
}

func (p *process) answers() (ns []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.lines {
		if text, ok := strings.CutPrefix(line, goroutinesAre); ok {
			n, _ := strconv.Atoi(text)
			ns = append(ns, n)
		}
	}
	return ns
}

const goroutinesAre = "goroutines "

// counting is a role that says how many goroutines it has at each SIGUSR1.
func counting(role func(context.Context, child.Spec) error) func(context.Context, child.Spec) error {
	return func(ctx context.Context, s child.Spec) error {
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGUSR1)
		go func() {
			for range asked {
				fmt.Println(goroutinesAre + strconv.Itoa(runtime.NumGoroutine()))
			}
		}()
		return role(ctx, s)
	}
}

// bad is a network that is slow, passes replies on in small pieces, and resets a connection in the middle of some replies.
func bad(part float64) fault {
	return func(r *run) {
		dice := rand.New(rand.NewPCG(r.rand.Uint64(), 0)) // Reset asks under a lock
		r.proxy.Jitter(100*time.Millisecond, 50*time.Millisecond)
		r.proxy.Slice(64)
		r.proxy.Reset(func([]byte) bool {
			hit := dice.Float64() < part
			if hit {
				r.momentary("a connection is reset")
			}
			return hit
		})
		calm(r)
		r.proxy.Reset(nil)
		r.proxy.Slice(0)
		r.proxy.Jitter(0, 0)
		r.faults += r.proxy.Resets()
		assert.Positive(r, r.proxy.Resets(), "connections were reset")
	}
}

// swallowing loses some of the replies to requests that contain one of the words, or to any, and writes each down, while another
// fault befalls the run.
func swallowing(part float64, other fault, words ...string) fault {
	return func(r *run) {
		dice := rand.New(rand.NewPCG(r.rand.Uint64(), 0)) // Lose asks under a lock
		r.proxy.Lose(func(request []byte) bool {
			hit := dice.Float64() < part && (len(words) == 0 || containsAny(bytes.ToUpper(request), words))
			if hit {
				r.momentary("a reply is lost")
			}
			return hit
		})
		other(r)
		calm(r)
		r.proxy.Lose(nil)
		r.faults += r.proxy.Lost()
		assert.Positive(r, r.proxy.Lost(), "replies were lost")
	}
}

// momentary writes down a fault of the network that is over at once.
func (r *run) momentary(text string) {
	r.log.Log(history.Record{What: history.Fault, Process: "network", Text: text})
	r.heal("network", text)
}

// eachResumes measures how soon after the end of a fault each process begins an event again, if there were events for all of them.
func eachResumes(limit time.Duration) func(*run) {
	return func(r *run) {
		last := int64(0) // when the last event was published
		for _, h := range r.history {
			if h.What == history.Published {
				last = h.At
			}
		}
		healed := map[string]int64{} // by process
		for _, h := range r.history {
			switch h.What {
			case history.Healed:
				if h.At+int64(limit) > last {
					continue
				}
				for _, c := range r.consumers[:r.row.consumers] {
					healed[c.Name] = h.At
				}
			case history.Started:
				if at, ok := healed[h.Process]; ok {
					r.recovery = append(r.recovery, time.Duration(h.At-at))
					delete(healed, h.Process)
				}
			}
		}
		assert.NotEmpty(r, r.recovery, "consumers that began again")
		assert.Empty(r, healed, "who has begun nothing since")
		r.within(limit, "until each consumer begins events again")
	}
}
