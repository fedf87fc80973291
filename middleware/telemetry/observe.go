package telemetry

import (
	"context"
	"errors"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// Breaker is what Observe needs of a circuit breaker: middleware.Breaker is one. Its methods return soon.
type Breaker interface {
	// Name names the dependency; breakers of one process have different names.
	Name() string
	// State is "closed", "open" or "half-open".
	State() string
}

// Observe adds metrics of how things stand: of each subscription of b its lag, pending and waiting events, dead letters, handlers at
// work, and whether it is paused; and the state of breakers. They are looked at when metrics are collected, with one call of
// [bus.Bus.Stats] for all, which ends after [Options].StatsTimeout. What the broker cannot tell is left out, and not 0.
//
// Call it once for each bus, after New and before or after Run. Unregister of what it returns ends it; a process with one bus can
// forget it. The error is that of the MeterProvider.
func (t *Telemetry) Observe(b *bus.Bus, breakers ...Breaker) (metric.Registration, error) {
	g, err := newGauges(t.meter)
	if err != nil {
		return nil, err
	}
	return t.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		ctx, cancel := context.WithTimeout(ctx, t.opts.StatsTimeout)
		defer cancel()
		st, err := b.Stats(ctx)
		g.observe(o, st, breakers)
		g.complain(err)
		return nil // with an error, readers that push drop all metrics of the process
	}, g.all()...)
}

// gauges are the metrics of how things stand.
type gauges struct {
	lag, pending, waiting, delayed, letters metric.Int64ObservableGauge
	oldest                                  metric.Float64ObservableGauge
	running, queued, paused, breaker        metric.Int64ObservableGauge
	settled, dropped, leases, losses        metric.Int64ObservableCounter

	mu   sync.Mutex
	said string // the latest complaint
}

// complain reports why figures are missing, once for as long as the reason is the same.
func (g *gauges) complain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	g.mu.Lock()
	news := text != g.said
	g.said = text
	g.mu.Unlock()
	if news {
		report(err)
	}
}

func newGauges(m metric.Meter) (*gauges, error) {
	g := &gauges{}
	var errs []error
	gauge := func(to *metric.Int64ObservableGauge, name, unit, what string) {
		var err error
		*to, err = m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(what))
		errs = append(errs, err)
	}
	counter := func(to *metric.Int64ObservableCounter, name, unit, what string) {
		var err error
		*to, err = m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
		errs = append(errs, err)
	}
	gauge(&g.lag, "typedbus.group.lag", "{message}", "Messages stored and not yet delivered to the group.")
	gauge(&g.pending, "typedbus.group.pending", "{message}", "Messages delivered to the group and not settled.")
	gauge(&g.waiting, "typedbus.group.waiting", "{message}", "Messages that failed or were deferred, and are not yet due.")
	gauge(&g.delayed, "typedbus.topic.delayed", "{message}", "Messages published with a delay that is not over.")
	gauge(&g.letters, "typedbus.dead_letter.messages", "{message}", "Dead letters of the group.")
	gauge(&g.running, "typedbus.subscription.running", "{message}", "Messages being handled by this process.")
	gauge(&g.queued, "typedbus.subscription.queued", "{message}", "Messages received by this process that wait for a handler.")
	gauge(&g.paused, "typedbus.subscription.paused", "{subscription}", "1 while the subscription of this process is paused, else 0.")
	gauge(&g.breaker, "typedbus.breaker.state", "{breaker}", "1 for the state that the breaker is in, 0 for the others.")
	counter(&g.settled, "typedbus.settlements", "{message}", "Deliveries that this process has settled, by how.")
	counter(&g.dropped, "typedbus.dead_letter.dropped", "{message}", "Dead letters that the bound on their number or age has removed.")
	counter(&g.leases, "typedbus.leases.lost", "{lease}", "Deliveries that went to another consumer while this process held them.")
	counter(&g.losses, "typedbus.losses", "{event}", "Times that the broker was suspected to have lost messages of the group.")
	var err error
	g.oldest, err = m.Float64ObservableGauge("typedbus.group.oldest_pending.age", metric.WithUnit("s"),
		metric.WithDescription("Time since the oldest pending message of the group was stored; 0 if none is pending."))
	return g, errors.Join(append(errs, err)...)
}

func (g *gauges) all() []metric.Observable {
	return []metric.Observable{g.lag, g.pending, g.waiting, g.delayed, g.letters, g.oldest, g.running, g.queued, g.paused, g.breaker,
		g.settled, g.dropped, g.leases, g.losses}
}

func (g *gauges) observe(o metric.Observer, st bus.Stats, breakers []Breaker) {
	topics := map[string]bool{}
	for _, s := range st.Subscriptions {
		of := metric.WithAttributeSet(attribute.NewSet(groupAttributes(s.Topic, s.Group)...))
		g.group(o, s.Lag, of)
		g.process(o, s, of)
		if !topics[s.Topic] && s.Lag.Delayed >= 0 { // all groups of a topic have the same
			o.ObserveInt64(g.delayed, s.Lag.Delayed, metric.WithAttributes(semconv.MessagingDestinationName(s.Topic)))
			topics[s.Topic] = true
		}
	}
	for _, b := range breakers {
		g.state(o, b)
	}
}

// group observes what is the same for every process of a group.
func (g *gauges) group(o metric.Observer, lag transport.Lag, of metric.ObserveOption) {
	known(o, g.lag, lag.Undelivered, of)
	known(o, g.pending, lag.Pending, of)
	known(o, g.waiting, lag.Waiting, of)
	known(o, g.letters, lag.Dead, of)
	known(o, g.dropped, lag.LettersDropped, of)
	if lag.Oldest >= 0 {
		o.ObserveFloat64(g.oldest, lag.Oldest.Seconds(), of)
	}
}

// known observes a figure unless it is -1: the broker cannot tell, or could not be asked.
func known(o metric.Observer, i metric.Int64Observable, n int64, of metric.ObserveOption) {
	if n >= 0 {
		o.ObserveInt64(i, n, of)
	}
}

// process observes what this process does for a group.
func (g *gauges) process(o metric.Observer, s bus.SubscriptionStats, of metric.ObserveOption) {
	o.ObserveInt64(g.running, int64(s.Running), of)
	o.ObserveInt64(g.queued, int64(s.Queued), of)
	o.ObserveInt64(g.paused, oneIf(s.Paused), of)
	o.ObserveInt64(g.leases, int64(s.LeasesLost), of)
	o.ObserveInt64(g.losses, int64(s.Losses), of)
	for how, n := range map[transport.Verdict]uint64{
		transport.Done: s.Done, transport.Failed: s.Counts.Failed, transport.Deferred: s.Deferred, transport.Dead: s.Counts.Dead,
	} {
		as := append(groupAttributes(s.Topic, s.Group), keySettlement.String(how.String()))
		o.ObserveInt64(g.settled, int64(n), metric.WithAttributes(as...))
	}
}

// state observes every state, so that a breaker's series do not come and go.
func (g *gauges) state(o metric.Observer, b Breaker) {
	is := b.State()
	for _, state := range []string{"closed", "half-open", "open"} {
		o.ObserveInt64(g.breaker, oneIf(is == state), metric.WithAttributes(keyBreaker.String(b.Name()), keyState.String(state)))
	}
}

func oneIf(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
