package simulate_test

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/middleware"
)

var silent = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1}))

// process is one of many consumers: a bus on a transport of its own.
type process struct {
	w    *world
	name string
	d    *dice
	tr   *faulty
	bus  *bus.Bus
	sub  *bus.Subscriber[order]

	cancel context.CancelFunc // ends Run
	ended  chan struct{}      // closed when it has returned; nil before it is called
	err    error              // of Run

	dead bool // guarded by the world's lock
}

func newProcess(w *world, name string) *process {
	p := &process{w: w, name: name, d: newDice(w.seed, name), tr: newFaulty(w, name)}
	p.bus = bus.New(p.tr, bus.Logger(silent), bus.Grace(p.d.upTo(10*time.Second)), bus.Use(p.record))
	return p
}

// subscribe declares a subscription of any make.
func (p *process) subscribe() {
	handler := bus.HandlerOf[order](p.handle)
	if p.d.one(3) {
		handler = bus.Batched(1+p.d.below(10), p.d.upTo(time.Second), p.handleBatch)
	}
	opts := []bus.SubscribeOption{
		bus.Concurrency(1 + p.d.below(10)), bus.Lease(p.w.lease), p.middleware(),
		bus.Redeliver(bus.Backoff{Min: p.d.upTo(time.Second), Max: 10 * time.Second, NoJitter: true}),
	}
	if p.d.one(2) {
		opts = append(opts, bus.Prefetch(p.d.below(30)))
	}
	if p.w.limited {
		opts = append(opts, bus.MaxProcessing(3*time.Second+p.d.upTo(20*time.Second)))
	}
	p.sub = orders.Subscribe(p.bus, group, handler, opts...)
}

// middleware is a chain of any parts, in their order.
func (p *process) middleware() bus.Chain {
	var chain []bus.Middleware
	if p.w.routed {
		chain = append(chain, dlq.Route(dlq.RouteOptions{MaxAttempts: 2 + p.d.below(5), MaxCrashes: 2 + p.d.below(5)}))
	}
	if p.w.claims != nil {
		store := &claims{Claims: p.w.claims, p: p, d: newDice(p.w.seed, p.name, "claims")}
		chain = append(chain, middleware.Idempotent(store, middleware.IdempotentOptions{
			Expiry: 2 * p.w.lease, StoreDown: p.d.upTo(5 * time.Second), Logger: silent}))
	}
	if p.d.one(6) { // its jitter does not repeat with the seed
		chain = append(chain, middleware.Retry(middleware.RetryOptions{Tries: 1 + p.d.below(4), Max: p.d.upTo(time.Second)}))
	}
	if p.d.one(3) {
		chain = append(chain, middleware.Timeout(3*time.Second+p.d.upTo(2*p.w.lease), silent))
	}
	if p.d.one(3) {
		chain = append(chain, middleware.Recover())
	}
	return bus.Use(chain...)
}

// live is a process from its start to its end.
func (p *process) live() {
	if late := p.d.one(4); late {
		p.run()
		wait(context.Background(), p.d.upTo(3*time.Second))
		p.subscribe()
	} else {
		p.begin()
	}
	for range p.d.below(6) {
		wait(context.Background(), p.d.upTo(10*time.Second))
		p.suffer()
	}
	if p.w.strikes(p.d, processKilled) {
		p.kill()
	}
	p.finish()
	p.tr.Close()
}

func (p *process) begin() {
	p.subscribe()
	p.run()
}

func (p *process) run() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.ended = cancel, make(chan struct{})
	go func() {
		defer close(p.ended)
		p.err = p.bus.Run(ctx)
	}()
}

// over says whether Run has not begun, or has returned by itself.
func (p *process) over() bool {
	if p.ended == nil {
		return true
	}
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// finish drains the process, and returns what Run returned.
func (p *process) finish() error {
	p.cancel()
	<-p.ended
	return p.err
}

// suffer is what may befall a process, by faults and by its operator.
func (p *process) suffer() {
	if p.w.strikes(p.d, processStalled) {
		p.w.mark(p.name, history.Paused)
		resume := p.tr.stall()
		wait(context.Background(), p.d.upTo(3*p.w.lease))
		resume()
		p.w.mark(p.name, history.Resumed)
	}
	if p.d.one(8) {
		p.sub.Stop(context.Background())
	}
	p.fiddle()
}

// fiddle is what an operator may do.
func (p *process) fiddle() {
	if p.ended == nil {
		return
	}
	switch p.d.below(6) {
	case 0:
		p.sub.Pause()
	case 1, 2:
		p.sub.Resume()
	}
}

// kill ends the process without a word. What its handlers still do is not seen by anybody.
func (p *process) kill() {
	p.tr.crash()
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.happened(p, history.Killed, nil, "")
	p.dead = true
}

func (p *process) killed() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.dead
}
