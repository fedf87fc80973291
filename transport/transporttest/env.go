package transporttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// An env is what the check of a clause works with. It is the test itself, and the words the checks are written in.
type env struct {
	testing.TB
	clause clause
	h      Harness
	broker Broker
	run    string // unique, so that a broker which outlives the run has no leftovers for the next one

	background sync.WaitGroup // what the clause has started; waited for at its end
}

// short is a delay that can be told from none. Clauses wait for it.
const short = 300 * time.Millisecond

// slack is how much earlier than asked something may come, because the broker counts in milliseconds.
func (e *env) slack() time.Duration {
	if e.h.Bubble {
		return 0
	}
	return 2 * time.Millisecond
}

// broken fails the clause, and prints the sentence that does not hold.
func (e *env) broken(format string, args ...any) {
	e.Helper()
	e.Fatal(e.verdict(format, args...))
}

func (e *env) verdict(format string, args ...any) string {
	return fmt.Sprintf("the contract says:\n\n\t%s\n\nbut %s", e.clause.says, fmt.Sprintf(format, args...))
}

// must ends the clause if a call that it needs fails.
func (e *env) must(what string, err error) {
	e.Helper()
	if err != nil {
		e.broken("%s failed: %v", what, err)
	}
}

// needs skips the clause where the harness cannot do something.
func (e *env) needs(has bool, what string) {
	e.Helper()
	if !has {
		e.Skipf("not checked: the transport or its harness has no %s", what)
	}
}

// open returns a new transport, closed at the end.
func (e *env) open() transport.Transport {
	tr := e.broker.Open()
	e.Cleanup(func() { tr.Close() })
	return tr
}

// topic returns a topic of this clause and run.
func (e *env) topic(name string) transport.Topic {
	return transport.Topic{Name: fmt.Sprintf("%s.%s.%s", e.clause.name, name, e.run)}
}

// patient returns a context for what must happen.
func (e *env) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.Context(), e.h.Patience)
}

// wait lets time pass.
func (e *env) wait(d time.Duration) {
	e.Helper()
	if !pause(e.Context(), d) {
		e.Fatal("the test ended")
	}
}

// pause lets time pass; false if ctx ended first. It makes no timer that is over before anybody waits for it: where two goroutines
// of one bubble poll such timers, the race detector crashes (Go 1.26, golang.org/issue/78156).
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// eventually waits until a condition holds, looking again and again.
func (e *env) eventually(what string, holds func() bool) {
	e.Helper()
	for end := time.Now().Add(e.h.Patience); !holds(); e.wait(20 * time.Millisecond) {
		if time.Now().After(end) {
			e.broken("after %s %s", e.h.Patience, what)
		}
	}
}

// messages makes one message of each body.
func messages(bodies ...string) []*transport.Message {
	ms := make([]*transport.Message, len(bodies))
	for i, b := range bodies {
		ms[i] = &transport.Message{ID: transport.NewID(), Body: []byte(b)}
	}
	return ms
}

// numbered makes n bodies: prefix-0000 and so on.
func numbered(prefix string, n int) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprintf("%s-%04d", prefix, i)
	}
	return bodies
}

func (e *env) publish(tr transport.Transport, t transport.Topic, bodies ...string) {
	e.Helper()
	e.publishAll(tr, t, messages(bodies...))
}

func (e *env) publishAll(tr transport.Transport, t transport.Topic, ms []*transport.Message) {
	e.Helper()
	ctx, cancel := e.patient()
	defer cancel()
	e.must("Publish", tr.Publish(ctx, t, ms))
}

// A consumer is a subscription with the words the checks are written in.
type consumer struct {
	*env
	transport.Subscription
	lost   chan *transport.Delivery
	warned chan error
}

// join subscribes to a group that begins at the earliest message. Its lease is so long that it plays no part.
func (e *env) join(tr transport.Transport, t transport.Topic, group string) *consumer {
	e.Helper()
	return e.joinAs(tr, t, transport.Group{Name: group, Lease: 5 * time.Minute})
}

// joinLeased is join with the short lease.
func (e *env) joinLeased(tr transport.Transport, t transport.Topic, group string) *consumer {
	e.Helper()
	return e.joinAs(tr, t, transport.Group{Name: group, Lease: e.h.Lease})
}

func (e *env) joinAs(tr transport.Transport, t transport.Topic, g transport.Group) *consumer {
	e.Helper()
	c := &consumer{env: e, lost: make(chan *transport.Delivery, 1000), warned: make(chan error, 1000)}
	g.Lost = func(d *transport.Delivery) { c.lost <- d }
	g.Warn = func(err error) { c.warned <- err }
	ctx, cancel := e.patient()
	defer cancel()
	sub, err := tr.Subscribe(ctx, t, g)
	e.must("Subscribe", err)
	c.Subscription = sub
	return c
}

// receive calls Receive, and fails the clause if it does not return when its context ends.
func (c *consumer) receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	c.Helper()
	got := receiveLater(c, ctx, limit)
	select {
	case r := <-got:
		return r.ds, r.err
	case <-ctx.Done():
	}
	r := c.outcome(got)
	return r.ds, r.err
}

// some receives at least one delivery and at most limit.
func (c *consumer) some(limit int) []*transport.Delivery {
	c.Helper()
	ctx, cancel := c.patient()
	defer cancel()
	ds, err := c.receive(ctx, limit)
	switch {
	case err != nil:
		c.broken("nothing was received in %s: %v", c.h.Patience, err)
	case len(ds) == 0:
		c.broken("Receive returned neither a delivery nor an error")
	case len(ds) > limit:
		c.broken("Receive returned %d deliveries; the limit was %d", len(ds), limit)
	}
	return ds
}

func (c *consumer) one() *transport.Delivery {
	c.Helper()
	return c.some(1)[0]
}

// all receives n deliveries.
func (c *consumer) all(n int) (ds []*transport.Delivery) {
	c.Helper()
	for len(ds) < n {
		ds = append(ds, c.some(n-len(ds))...)
	}
	return ds
}

// expect receives one delivery for each body, in any order.
func (c *consumer) expect(bodies ...string) []*transport.Delivery {
	c.Helper()
	ds := c.all(len(bodies))
	if missing, extra := difference(bodies, texts(ds)); len(missing)+len(extra) > 0 {
		c.broken("missing: %s; not expected: %s", few(missing), few(extra))
	}
	return ds
}

// silent sees that nothing more comes.
func (c *consumer) silent() {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), c.h.Quiet)
	defer cancel()
	ds, err := c.receive(ctx, 10)
	if len(ds) > 0 {
		c.broken("something came that should not: %s", describe(ds))
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		c.broken("Receive returned %v, not the context's error", err)
	}
}

// settle settles, and sees that it works.
func (c *consumer) settle(ss ...transport.Settlement) {
	c.Helper()
	c.must("Settle", c.try(ss...))
}

func (c *consumer) try(ss ...transport.Settlement) error {
	ctx, cancel := c.patient()
	defer cancel()
	return c.Settle(ctx, ss)
}

func (c *consumer) done(ds ...*transport.Delivery) {
	c.Helper()
	ss := make([]transport.Settlement, len(ds))
	for i, d := range ds {
		ss[i] = transport.Settlement{Delivery: d, Verdict: transport.Done}
	}
	c.settle(ss...)
}

func (c *consumer) failed(d *transport.Delivery, after time.Duration) {
	c.Helper()
	c.settle(transport.Settlement{Delivery: d, Verdict: transport.Failed, After: after})
}

func (c *consumer) dead(d *transport.Delivery) {
	c.Helper()
	c.settle(transport.Settlement{Delivery: d, Verdict: transport.Dead, Reason: "exhausted", Error: "boom"})
}

func (c *consumer) leave() {
	c.Helper()
	ctx, cancel := c.patient()
	defer cancel()
	c.must("Close", c.Close(ctx))
}

// counts checks what a delivery says about its past.
func (c *consumer) counts(d *transport.Delivery, attempt, redelivered int) {
	c.Helper()
	if d.Attempt != attempt || d.Redelivered != redelivered {
		c.broken("a delivery has Attempt %d and Redelivered %d; %d and %d would be right", d.Attempt, d.Redelivered, attempt, redelivered)
	}
}

// replays checks how often a delivery says it was replayed.
func (c *consumer) replays(d *transport.Delivery, want int) {
	c.Helper()
	if d.Replays != want {
		c.broken("a delivery has Replays %d; %d would be right", d.Replays, want)
	}
}

func texts(ds []*transport.Delivery) []string {
	ts := make([]string, len(ds))
	for i, d := range ds {
		ts[i] = string(d.Body)
	}
	return ts
}

func describe(ds []*transport.Delivery) string {
	ts := make([]string, len(ds))
	for i, d := range ds {
		ts[i] = fmt.Sprintf("%.40q (attempt %d, redelivered %d)", d.Body, d.Attempt, d.Redelivered)
	}
	return few(ts)
}

// few lists the first of many.
func few(ts []string) string {
	if len(ts) == 0 {
		return "none"
	}
	s := strings.Join(ts[:min(5, len(ts))], ", ")
	if len(ts) > 5 {
		s += fmt.Sprintf(", and %d more", len(ts)-5)
	}
	return s
}

// difference compares two lists regardless of order.
func difference(want, got []string) (missing, extra []string) {
	n := map[string]int{}
	for _, w := range want {
		n[w]++
	}
	for _, g := range got {
		if n[g]--; n[g] < 0 {
			extra = append(extra, g)
		}
	}
	for _, w := range want {
		if n[w] > 0 {
			n[w]--
			missing = append(missing, w)
		}
	}
	return missing, extra
}
