package transporttest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/typedbus/typedbus/transport"
)

const saysConcurrent = "All methods may be called concurrently."

var manyClauses = []clause{
	{"many-publishers-and-consumers", saysConcurrent, func(e *env) {
		w := &crowd{env: e, topic: e.topic("a"), publishers: 8, each: 60}
		w.transports = []transport.Transport{e.open(), e.open()}
		w.groups = map[string]int{"g1": 4, "g2": 2}
		w.settleOne = func(d *transport.Delivery, i int) transport.Settlement {
			return transport.Settlement{Delivery: d, Verdict: transport.Done}
		}
		w.check()
	}},

	{"many-verdicts", "All methods may be called concurrently, but only one Receive at a time.", func(e *env) {
		w := &crowd{env: e, topic: e.topic("a"), publishers: 4, each: 60}
		w.transports = []transport.Transport{e.open(), e.open()}
		w.groups = map[string]int{"g1": 3, "g2": 3}
		w.settleOne = func(d *transport.Delivery, i int) transport.Settlement {
			st := transport.Settlement{Delivery: d, Verdict: transport.Done}
			if d.Attempt < 3 && i%3 == 0 {
				st.Verdict = transport.Failed
			}
			return st
		}
		w.check()
	}},
}

// A crowd is many publishers and consumers at once.
type crowd struct {
	*env
	transports []transport.Transport
	topic      transport.Topic
	publishers int
	each       int            // messages of one publisher
	groups     map[string]int // how many consumers each has
	settleOne  func(d *transport.Delivery, i int) transport.Settlement

	mu   sync.Mutex
	done map[string][]string // bodies by group
	errs []error
}

// check sees that each group is done with each message once: nothing is lost and nothing doubled.
func (w *crowd) check() {
	w.Helper()
	w.done = map[string][]string{}
	ctx, cancel := w.patient()
	defer cancel()
	var consumers sync.WaitGroup
	var subs []*consumer
	for group, n := range w.groups {
		left := make(chan struct{}, w.publishers*w.each)
		all, stop := context.WithCancel(ctx)
		defer stop()
		for i := range n {
			c := w.join(w.transports[i%len(w.transports)], w.topic, group)
			subs = append(subs, c)
			consumers.Go(func() { w.consume(all, stop, c, group, left) })
		}
	}
	w.publishEverything(ctx)
	consumers.Wait()
	if len(w.errs) > 0 {
		w.broken("%d calls failed, the first: %v", len(w.errs), w.errs[0])
	}
	var want []string
	for p := range w.publishers {
		want = append(want, numbered(fmt.Sprint("p", p), w.each)...)
	}
	for group := range w.groups {
		if missing, extra := difference(want, w.done[group]); len(missing)+len(extra) > 0 {
			w.broken("group %s: lost: %s; done twice: %s", group, few(missing), few(extra))
		}
	}
	for _, c := range subs {
		c.silent()
	}
}

func (w *crowd) publishEverything(ctx context.Context) {
	var wg sync.WaitGroup
	for p := range w.publishers {
		wg.Go(func() {
			bodies := numbered(fmt.Sprint("p", p), w.each)
			for i := 0; i < len(bodies); i += 1 + i%3 {
				end := min(len(bodies), i+1+i%3)
				w.note(w.transports[p%len(w.transports)].Publish(ctx, w.topic, messages(bodies[i:end]...)))
			}
		})
	}
	wg.Wait()
}

// consume handles what comes until its group has done everything.
func (w *crowd) consume(ctx context.Context, stop func(), c *consumer, group string, left chan struct{}) {
	for i := 0; ; {
		ds, err := c.Receive(ctx, 1+i%5)
		if err != nil {
			if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
				w.note(err)
			}
			return
		}
		var ss []transport.Settlement
		for _, d := range ds {
			i++
			ss = append(ss, w.settleOne(d, i))
		}
		w.note(c.try(ss...))
		w.finish(group, ss, left)
		if len(left) == cap(left) {
			stop()
		}
	}
}

// finish notes what is done.
func (w *crowd) finish(group string, ss []transport.Settlement, left chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, st := range ss {
		if st.Verdict != transport.Done {
			continue
		}
		w.done[group] = append(w.done[group], string(st.Body))
		select {
		case left <- struct{}{}:
		default: // more than there are: done twice
		}
	}
}

func (w *crowd) note(err error) {
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.errs = append(w.errs, err)
	}
}
