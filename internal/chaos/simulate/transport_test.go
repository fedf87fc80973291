package simulate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

var errNet = errors.New("simulated: connection reset")

// faulty is the transport of one process: the broker's, with faults at each call.
type faulty struct {
	*memory.Transport
	w    *world
	name string // of the process

	publishing, joining *dice

	mu   sync.Mutex
	subs []*faultySub
}

func newFaulty(w *world, name string) *faulty {
	return &faulty{Transport: w.broker.Peer(), w: w, name: name,
		publishing: newDice(w.seed, name, "publish"), joining: newDice(w.seed, name, "subscribe")}
}

// wait lets virtual time pass; an error if ctx ends it.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *faulty) Publish(ctx context.Context, t transport.Topic, ms []*transport.Message) error {
	d := f.publishing
	if f.w.strikes(d, publishSlow) && wait(ctx, d.upTo(10*time.Second)) != nil {
		return publishError(t, len(ms), 0, transport.NotStored, ctx.Err())
	}
	switch {
	case f.w.strikes(d, publishFails):
		return publishError(t, len(ms), 0, transport.NotStored, errNet)
	case f.w.strikes(d, publishVanishes):
		return publishError(t, len(ms), 0, transport.Unknown, errNet)
	case f.w.strikes(d, publishUnheard):
		stored := d.below(len(ms) + 1)
		if err := f.Transport.Publish(ctx, t, ms[:stored]); err != nil {
			return publishError(t, len(ms), 0, transport.NotStored, err)
		}
		return publishError(t, len(ms), 0, transport.Unknown, errNet)
	case f.w.strikes(d, publishPartly):
		stored := d.below(len(ms))
		if err := f.Transport.Publish(ctx, t, ms[:stored]); err != nil {
			return publishError(t, len(ms), 0, transport.NotStored, err)
		}
		return publishError(t, len(ms), stored, transport.Outcome(2*d.below(2)), errNet)
	}
	return f.Transport.Publish(ctx, t, ms)
}

// publishError says that the first of n messages are stored, and what became of the rest.
func publishError(t transport.Topic, n, stored int, rest transport.Outcome, err error) error {
	outcomes := slices.Repeat([]transport.Outcome{rest}, n)
	for i := range stored {
		outcomes[i] = transport.Stored
	}
	return &transport.PublishError{Topic: t.Name, Outcomes: outcomes, Err: err}
}

func (f *faulty) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	d := f.joining
	if f.w.strikes(d, subscribeFails) {
		return nil, errNet
	}
	s := &faultySub{f: f, tell: g.Lost, lease: g.LeaseOrDefault(), known: map[string]*watched{}, lostEarly: map[string]bool{}}
	g.Lost = s.leaseLost
	sub, err := f.Transport.Subscribe(ctx, t, g)
	if err != nil {
		return nil, err
	}
	if f.w.strikes(d, subscribeUnheard) {
		f.Crash(sub) // a consumer that nobody has
		return nil, errNet
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	of := func(what string) *dice { return newDice(f.w.seed, f.name, t.Name, g.Name, len(f.subs), what) }
	s.sub, s.receiving, s.settling, s.leasing = sub, of("receive"), of("settle"), of("lease")
	f.subs = append(f.subs, s)
	return s, nil
}

func (f *faulty) subscriptions() []*faultySub {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.subs)
}

// crash ends the signs of life of all subscriptions.
func (f *faulty) crash() {
	for _, s := range f.subscriptions() {
		f.Crash(s.sub)
	}
}

// stall suspends all subscriptions until resume is called.
func (f *faulty) stall() (resume func()) {
	var resumes []func()
	for _, s := range f.subscriptions() {
		resumes = append(resumes, f.Stall(s.sub))
	}
	return func() {
		for _, r := range resumes {
			r()
		}
	}
}

func (f *faulty) breach(format string, args ...any) {
	f.w.breach("%s: %s", f.name, fmt.Sprintf(format, args...))
}
