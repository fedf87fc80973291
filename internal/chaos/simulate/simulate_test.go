package simulate_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/transport"
)

func TestSimulation(t *testing.T) {
	var next, events, handled atomic.Uint64
	var struck [faults]atomic.Int64
	t.Run("all", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint("worker ", worker), func(t *testing.T) {
				t.Parallel()
				for n := next.Add(1); n <= uint64(*seeds) && !t.Failed(); n = next.Add(1) {
					w := simulate(t, *first+n-1, sound)
					events.Add(uint64(len(w.published)))
					handled.Add(uint64(len(w.all)))
					for f := range w.struck {
						struck[f].Add(w.struck[f].Load())
					}
				}
			})
		}
	})
	total := int64(0)
	for f := range struck {
		n := struck[f].Load()
		total += n
		assert.False(t, n == 0 && *seeds >= 300 && !t.Failed(), "fault %d never struck: it is not tested", f)
	}
	t.Logf("%d seeds, %d events, %d deliveries, %d faults", *seeds, events.Load(), handled.Load(), total)
}

// simulate runs one seed and says how to run it again if something is wrong.
func simulate(t *testing.T, seed uint64, s sabotage) (w *world) {
	t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w = newWorld(seed, s)
			w.run()
			if s == sound && len(w.breaches) > 0 {
				t.Errorf("%s\nrun it again: go test ./internal/chaos/simulate -run 'TestSimulation$' -seed %d -seeds 1 -trace",
					w.report(), seed)
			}
		})
	})
	return w
}

const mostReported = 20

func (w *world) report() string {
	lines := w.breaches
	if len(lines) > mostReported {
		lines = append(lines[:mostReported:mostReported], fmt.Sprintf("and %d more", len(w.breaches)-mostReported))
	}
	if *trace {
		for _, r := range w.history {
			lines = append(lines, fmt.Sprintf("%s %-10s %-13s %-5s attempt %d, delivery %d %s",
				time.Unix(0, r.At).UTC().Format("15:04:05.000000"), r.Process, r.What, r.ID, r.Attempt, r.Redelivered, r.Text))
		}
	}
	return strings.Join(lines, "\n")
}

// run lets publishers and processes live in bad weather, and then in good weather until nothing is left to do.
func (w *world) run() {
	defer w.broker.Close()
	d := newDice(w.seed, "run")
	last := newProcess(w, "last")
	if d.one(2) {
		last.begin() // and survives all the others
	}
	var living sync.WaitGroup
	living.Go(w.publish)
	for n := range 1 + d.below(4) {
		living.Go(newProcess(w, fmt.Sprint("process ", n)).live)
		wait(context.Background(), d.upTo(15*time.Second))
		w.storm(d)
		last.fiddle()
	}
	living.Wait()
	w.healed.Store(true)
	wait(context.Background(), 2*time.Minute) // what ignores its context returns
	if last.over() {
		last = newProcess(w, "afterwards")
		last.begin()
	}
	w.finish(last)
	w.judgeAll()
}

// storm takes the broker away for a while.
func (w *world) storm(d *dice) {
	if !w.strikes(d, brokerAway) {
		return
	}
	w.mark("", history.Fault)
	heal := w.broker.Outage()
	wait(context.Background(), d.upTo(3*w.lease))
	heal()
	w.mark("", history.Healed)
}

// enough is how long one process needs at most when nothing goes wrong: every wait of an event, and every claim of the dead, is
// shorter.
const enough = 5 * time.Minute

// finish has one process handle what is left.
func (w *world) finish(p *process) {
	p.sub.Resume()
	for begin := time.Now(); !w.nothingLeft(); wait(context.Background(), time.Second) {
		if time.Since(begin) > enough {
			w.breach("%s: after %v without faults there is still work", p.name, enough)
			break
		}
	}
	if err := p.finish(); err != nil {
		w.breach("%s: the drain: %v", p.name, err)
	}
	p.tr.Close()
	wait(context.Background(), time.Second)
	synctest.Wait()
}

func (w *world) nothingLeft() bool {
	l, err := w.broker.Lag(context.Background(), transport.Topic{Name: orders.Name()}, group)
	return err == nil && l.Undelivered == 0 && l.Pending == 0 && l.Waiting == 0 && l.Delayed == 0
}
