package transporttest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// stallWhile has a subscription stall for a while after it has received something.
func stallWhile(after, d time.Duration) func(*brokenSub, context.Context, int) (deliveriesOf, error) {
	return func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
		ds, err := s.Subscription.Receive(ctx, limit)
		if len(ds) > 0 && s.group.Lease < time.Minute {
			time.AfterFunc(after, func() {
				resume := s.tr.Stall(s.Subscription)
				time.AfterFunc(d, resume)
			})
		}
		return ds, err
	}
}

var leaseFaults = []fault{
	{
		name: "does not renew leases", caught: "lease-kept lease-exclusive lease-slow-handler",
		receive: stallWhile(0, 24*time.Hour),
	},
	{
		name: "does not take over from the dead", caught: "lease-runs-out lease-waiting-consumer lease-counts redelivered-without-an-outcome lag-after-crash outage-close",
		join: func(_ *transport.Topic, g *transport.Group) { g.Lease = 1000 * time.Hour },
	},
	{
		name: "takes over before the lease ends", caught: "lease-not-before",
		join: func(_ *transport.Topic, g *transport.Group) { g.Lease = time.Second },
	},
	{
		name: "forgets how often it was redelivered", caught: "lease-counts lease-runs-out redelivered-without-an-outcome",
		receive: rereceive(func(d *transport.Delivery) { d.Redelivered = 0 }),
	},
	{
		name: "counts redeliveries as attempts", caught: "lease-counts lease-runs-out redelivered-without-an-outcome",
		receive: rereceive(func(d *transport.Delivery) { d.Attempt += d.Redelivered }),
	},
	{
		name: "lets the late consumer settle", caught: "lost-refused lost-refused-later lost-in-a-batch",
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			err := s.Subscription.Settle(ctx, ss)
			if se := (*transport.SettleError)(nil); errors.As(err, &se) {
				for i, err := range se.Errs {
					if errors.Is(err, transport.ErrLeaseLost) {
						se.Errs[i] = nil
					}
				}
				if errors.Join(se.Errs...) == nil {
					return nil
				}
			}
			return err
		},
	},
	{
		name: "refuses a late Done", caught: "lost-done lost-in-a-batch",
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			for _, st := range ss {
				if _, lost := lost.Load(st.Delivery); lost {
					return &transport.SettleError{Errs: slices.Repeat([]error{transport.ErrLeaseLost}, len(ss))}
				}
			}
			return s.Subscription.Settle(ctx, ss)
		},
		join: func(_ *transport.Topic, g *transport.Group) {
			tell := g.Lost
			g.Lost = func(d *transport.Delivery) { lost.Store(d, true); tell(d) }
		},
	},
	{
		name: "tells nobody of lost leases", caught: "lost-told",
		join: func(_ *transport.Topic, g *transport.Group) { g.Lost = nil },
	},
	{
		name: "tells twice of lost leases", caught: "lost-told",
		join: func(_ *transport.Topic, g *transport.Group) {
			tell := g.Lost
			g.Lost = func(d *transport.Delivery) { tell(d); tell(d) }
		},
	},
	{
		name: "never works again after it stalled", caught: "lost-goes-on",
		receive: stallWhile(45*time.Second, 1000*time.Hour),
	},
	{
		name: "does not release at Close", caught: "close-releases close-releases-to-a-waiting-one close-all",
		join: func(_ *transport.Topic, g *transport.Group) { g.Lease = 1000 * time.Hour },
		close: func(s *brokenSub, ctx context.Context) error {
			s.tr.Crash(s.Subscription)
			return nil
		},
		end: func(b *broken) error {
			b.Outage()
			return b.Transport.Close()
		},
	},
	{
		name: "counts an attempt at Close", caught: "close-releases close-releases-to-a-waiting-one close-all lease-counts",
		close: func(s *brokenSub, ctx context.Context) error {
			closing.Store(s.topic.Name, true)
			return s.Subscription.Close(ctx)
		},
		end: func(b *broken) error { closing.Store("", true); return b.Transport.Close() },
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			ds, err := s.Subscription.Receive(ctx, limit)
			_, any := closing.Load("")
			if _, this := closing.Load(s.topic.Name); this || any {
				for _, d := range ds {
					d.Attempt++
				}
			}
			return ds, err
		},
	},
	{
		name: "goes on receiving after Close", caught: "close-leaves",
		close: func(s *brokenSub, ctx context.Context) error {
			again, err := s.tr.Transport.Subscribe(context.WithoutCancel(ctx), s.topic, s.group)
			if err == nil {
				go again.Receive(context.WithoutCancel(ctx), 10)
			}
			return s.Subscription.Close(ctx)
		},
	},
	{
		name: "returns an error when closed twice", caught: "close-twice close-all-twice",
		close: func(s *brokenSub, ctx context.Context) error {
			if _, twice := closed.LoadOrStore(s, true); twice {
				return errors.New("closed before")
			}
			return s.Subscription.Close(ctx)
		},
		end: func(b *broken) error {
			if _, twice := closed.LoadOrStore(b, true); twice {
				return errors.New("closed before")
			}
			return b.Transport.Close()
		},
	},
	{
		name: "warns after Close", caught: "close-all-quiet",
		join: func(_ *transport.Topic, g *transport.Group) {
			if warn := g.Warn; warn != nil && g.Lease < time.Minute {
				time.AfterFunc(2*short, func() { warn(errors.New("still here")) })
			}
		},
	},
}

var lost, closing, closed sync.Map
