package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// Stats are the figures of a bus at one moment.
type Stats struct {
	Subscriptions []SubscriptionStats // in the order of their declaration
}

// SubscriptionStats are the figures of one subscription. The counters began with Run and count this process only; Lag is of
// the whole group.
type SubscriptionStats struct {
	Topic, Group string

	Lag     transport.Lag // how far the group is behind; all -1 if the transport cannot tell
	Queued  int           // received, waiting for a handler
	Running int           // being handled
	Paused  bool          // by Pause, or by a handler

	Counts
	Latency Latency
}

// Counts are how deliveries ended.
type Counts struct {
	Done, Failed, Deferred, Dead uint64
	LeasesLost                   uint64 // went to another consumer while they were held here
	Losses                       uint64 // times the transport suspected lost data
}

// Latency is the time from storing an event to the beginning of its handler, over the latest 512 events delivered for the
// first time. It compares the clocks of the broker and of this process.
type Latency struct {
	P50, P99, Max time.Duration
}

// Stats asks the transport how far each group is behind and adds what this process has counted. With an error the figures
// that could be had are returned all the same.
func (b *Bus) Stats(ctx context.Context) (Stats, error) {
	subs := b.subscriptions()
	st := Stats{Subscriptions: make([]SubscriptionStats, len(subs))}
	errs := make([]error, len(subs))
	slots := make(chan struct{}, statsAtOnce)
	var wg sync.WaitGroup
	for i, s := range subs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			st.Subscriptions[i], errs[i] = b.statsOf(ctx, s)
		})
	}
	wg.Wait()
	return st, errors.Join(errs...)
}

// statsAtOnce bounds how many groups are asked for at the same time.
const statsAtOnce = 16

func (b *Bus) statsOf(ctx context.Context, s *subscription) (SubscriptionStats, error) {
	st := s.stats()
	st.Lag = transport.Lag{Undelivered: -1, Pending: -1, Oldest: -1, Waiting: -1, Delayed: -1, Dead: -1, LettersDropped: -1}
	lagger, ok := b.tr.(transport.Lagger)
	if !ok {
		return st, nil
	}
	lag, err := lagger.Lag(ctx, s.topic, s.group)
	if err != nil {
		return st, fmt.Errorf("bus: stats of %s: %w", s.name(), err)
	}
	st.Lag = lag
	return st, nil
}

const readyAfter = 30 * time.Second

// Ready returns nil while Run has opened every subscription and every read loop has made a round trip to the broker lately;
// else an error that says which has not. It asks nobody, so it can be called often; a health endpoint may return it.
func (b *Bus) Ready() error {
	b.mu.Lock()
	state := b.state
	b.mu.Unlock()
	if state != running {
		return ErrNotRunning
	}
	var errs []error
	for _, s := range b.subscriptions() {
		errs = append(errs, s.ready(time.Now()))
	}
	return errors.Join(errs...)
}

func (s *subscription) ready(now time.Time) error {
	s.mu.Lock()
	sub, since, receive, settle, stuck := s.sub, s.intake.since, s.intake.failing, s.outbox.failing, s.slots.stuck
	s.mu.Unlock() // the transport may have locks of its own
	switch {
	case sub == nil:
		return fmt.Errorf("%w: %s is not open yet", ErrNotRunning, s.name())
	case receive != nil:
		return fmt.Errorf("bus: %s cannot receive: %w", s.name(), receive)
	case settle != nil:
		return fmt.Errorf("bus: %s cannot settle: %w", s.name(), settle)
	case stuck >= s.opts.concurrency:
		return fmt.Errorf("bus: %s has %d handlers that ignore their context, and room for no other: see MaxProcessing", s.name(), stuck)
	case since.IsZero():
		return nil // it does not want anything at the moment
	}
	pulse, ok := sub.(transport.Pulse)
	if !ok {
		return nil
	}
	last := pulse.LastRoundTrip()
	if last.Before(since) {
		last = since
	}
	if silent := now.Sub(last); silent > readyAfter {
		return fmt.Errorf("bus: %s has heard nothing from the broker for %v", s.name(), silent.Round(time.Second))
	}
	return nil
}

func (s *subscription) stats() SubscriptionStats {
	s.mu.Lock()
	paused, _ := s.pause.at(time.Now())
	st := SubscriptionStats{
		Topic: s.topic.Name, Group: s.group,
		Queued: len(s.intake.queue), Running: s.slots.running.n, Paused: paused,
		Counts: s.tally.Counts,
	}
	latencies := slices.Clone(s.tally.latencies[:min(s.tally.n, len(s.tally.latencies))])
	s.mu.Unlock()
	st.Latency = summarize(latencies)
	return st
}

// tally counts. The subscription's lock guards it.
type tally struct {
	Counts
	handlerTime time.Duration // moving average of how long a handler takes; 0: not known yet
	latencies   [512]time.Duration
	n           int // latencies recorded
}

// handled takes the times of a handler that has returned.
func (y *tally) handled(t *task, now time.Time) {
	if !t.parked { // a batch counts once
		took := max(now.Sub(t.began), time.Microsecond)
		if y.handlerTime == 0 {
			y.handlerTime = took
		}
		y.handlerTime += (took - y.handlerTime) / 8
	}
	if t.Attempt == 1 && t.Redelivered == 0 && !t.Time.IsZero() {
		y.latencies[y.n%len(y.latencies)] = max(t.began.Sub(t.Time), 0)
		y.n++
	}
}

func (y *tally) settled(v transport.Verdict) {
	switch v {
	case transport.Done:
		y.Done++
	case transport.Failed:
		y.Failed++
	case transport.Deferred:
		y.Deferred++
	case transport.Dead:
		y.Dead++
	}
}

func summarize(latencies []time.Duration) Latency {
	n := len(latencies)
	if n == 0 {
		return Latency{}
	}
	slices.Sort(latencies)
	return Latency{P50: latencies[n/2], P99: latencies[n*99/100], Max: latencies[n-1]}
}
