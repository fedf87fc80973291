package transporttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

var receiveFaults = []fault{
	{
		name: "ignores the limit", caught: "receive-limit",
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			return s.Subscription.Receive(ctx, limit+1)
		},
	},
	{
		name: "returns without anything", caught: "receive-waits receive-deadline receive-cancelled",
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			defer cancel()
			ds, err := s.Subscription.Receive(ctx, limit)
			if errors.Is(err, context.DeadlineExceeded) {
				err = nil
			}
			return ds, err
		},
	},
	{
		name: "counts the limit per source", caught: "receive-limit-mixed",
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			ds, err := s.Subscription.Receive(ctx, limit)
			if len(ds) > 0 && ds[len(ds)-1].Attempt != 2 {
				more, cancel := context.WithTimeout(ctx, time.Nanosecond)
				defer cancel()
				twice, _ := s.Subscription.Receive(more, limit)
				ds = append(ds, twice...)
			}
			return ds, err
		},
	},
	{
		name: "wakes one only", caught: "receive-wakes-all",
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			return s.Subscription.Receive(ctx, max(limit, 4))
		},
	},
	{
		name: "does not notice that the context ends", caught: "receive-cancelled",
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			slow, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
			defer cancel()
			ds, err := s.Subscription.Receive(slow, limit)
			return ds, errors.Join(err, ctx.Err())
		},
	},
	{
		name: "forgets what it leased when the context ends", caught: "receive-forgets-nothing receive-ended-before receive-leaves-it-to-others",
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			slow, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
			defer cancel()
			ds, err := s.Subscription.Receive(slow, limit)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return ds, err
		},
	},
	{
		name: "returns an error of its own when the context ends", caught: "receive-cancelled receive-deadline",
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			ds, err := s.Subscription.Receive(ctx, limit)
			if err != nil {
				err = fmt.Errorf("did not work: %v", err)
			}
			return ds, err
		},
	},
	{
		name: "goes on after Close", caught: "receive-after-close close-returns-receive close-all",
		close: func(*brokenSub, context.Context) error { return nil },
		end:   func(*broken) error { return nil },
	},
	{
		name: "tries for ever during an outage", caught: "outage-receive",
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			for {
				ds, err := s.Subscription.Receive(ctx, limit)
				if err == nil || ctx.Err() != nil || errors.Is(err, transport.ErrClosed) {
					return ds, err
				}
				<-time.After(time.Second)
			}
		},
	},
	{
		name: "gives every delivery the same receipt", caught: "receipt-unique",
		receive: rereceive(func(d *transport.Delivery) { d.Receipt = "1" }),
	},
	{
		name: "knows deliveries by their address", caught: "receipt-enough",
		receive: rereceive(func(d *transport.Delivery) { known.Store(d, true) }),
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			for _, st := range ss {
				if _, ok := known.Load(st.Delivery); !ok {
					return errors.New("not mine")
				}
			}
			return s.Subscription.Settle(ctx, ss)
		},
	},
	{
		name: "calls good messages malformed", caught: "",
		receive: rereceive(func(d *transport.Delivery) { d.Malformed = errors.New("is it?") }),
	},
}

var known sync.Map

var settleFaults = []fault{
	{
		name: "settles half", caught: "settle-done settle-mixed settle-error lost-in-a-batch",
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			return s.Subscription.Settle(ctx, ss[:(len(ss)+1)/2])
		},
	},
	{
		name: "settles nothing if there is nothing to settle, with an error", caught: "settle-none",
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			if len(ss) == 0 {
				return errors.New("nothing to do")
			}
			return s.Subscription.Settle(ctx, ss)
		},
	},
	{
		name: "ignores After", caught: "settle-failed settle-deferred",
		settle: resettle(func(st *transport.Settlement) { st.After = 0 }),
	},
	{
		name: "is early by a fifth", caught: "settle-failed settle-deferred",
		settle: resettle(func(st *transport.Settlement) { st.After -= st.After / 5 }),
	},
	{
		name: "holds up everything behind a failure", caught: "settle-waiting-holds-nothing",
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			err := s.Subscription.Settle(ctx, ss)
			for _, st := range ss {
				if st.Verdict == transport.Failed {
					pause(ctx, st.After)
				}
			}
			return err
		},
	},
	{
		name: "forgets the attempt", caught: "settle-failed attempt-counts settle-many-waiting lease-counts",
		receive: rereceive(func(d *transport.Delivery) { d.Attempt = 1 }),
	},
	{
		name: "counts a deferral as an attempt", caught: "settle-deferred attempt-counts",
		settle: resettle(func(st *transport.Settlement) {
			if st.Verdict == transport.Deferred {
				st.Verdict = transport.Failed
			}
		}),
	},
	{
		name: "drops what failed", caught: "settle-failed settle-failed-other-consumer settle-many-waiting soft-keeps-what-waits many-verdicts replay-forgets-the-past lease-slow-handler",
		settle: resettle(func(st *transport.Settlement) {
			if st.Verdict == transport.Failed {
				st.Verdict = transport.Done
			}
		}),
	},
	{
		name: "settles into another group's place", caught: "group-unaffected",
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			for _, st := range ss {
				if st.Verdict == transport.Failed {
					s.tr.Transport.Publish(ctx, s.topic, messagesOf{st.Message}) // a retry by publishing again
				}
			}
			return resettle(func(st *transport.Settlement) {
				if st.Verdict == transport.Failed {
					st.Verdict = transport.Done
				}
			})(s, ctx, ss)
		},
	},
	{
		name: "does not settle twice", caught: "settle-twice settle-twice-otherwise stage-twice",
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			for _, st := range ss {
				if _, twice := settled.LoadOrStore(st.Delivery, true); twice {
					return &transport.SettleError{Errs: slices.Repeat([]error{errors.New("settled before")}, len(ss))}
				}
			}
			return s.Subscription.Settle(ctx, ss)
		},
	},
	{
		name: "returns a plain error from Settle", caught: "lost-refused lost-in-a-batch stage-bad-topic outage-settle",
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			if s.Subscription.Settle(ctx, ss) != nil {
				return errors.New("did not work")
			}
			return nil
		},
	},
	{
		name: "gives up a cancelled batch half way and forgets which half", caught: "settle-error",
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			if ctx.Err() != nil {
				return &transport.SettleError{Errs: []error{ctx.Err()}}
			}
			return s.Subscription.Settle(ctx, ss)
		},
	},
	{
		name: "stages by publishing first", caught: "lost-refused stage-bad-topic stage-done-only stage-twice",
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			errs := make([]error, len(ss))
			for i, st := range ss {
				for _, m := range st.Stage {
					errs[i] = errors.Join(errs[i], s.tr.Transport.Publish(ctx, m.Topic, messagesOf{m.Message}))
				}
				st.Stage = nil
				errs[i] = errors.Join(errs[i], s.Subscription.Settle(ctx, []transport.Settlement{st}))
			}
			if errors.Join(errs...) != nil {
				return &transport.SettleError{Errs: errs}
			}
			return nil
		},
	},
	{
		name: "says only in words that it refuses", caught: "stage-refused",
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			err := s.Subscription.Settle(ctx, ss)
			if each := (*transport.SettleError)(nil); errors.As(err, &each) {
				for i, err := range each.Errs {
					if err != nil {
						each.Errs[i] = errors.New(err.Error())
					}
				}
			}
			return err
		},
	},
	{
		name: "ends what it refuses", caught: "stage-refused-otherwise",
		settle: func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			err := s.Subscription.Settle(ctx, ss)
			if errors.Is(err, transport.ErrRefused) {
				s.Subscription.Settle(ctx, []transport.Settlement{{Delivery: ss[0].Delivery, Verdict: transport.Done}})
			}
			return err
		},
	},
	{
		name: "forgets what is staged", caught: "stage-stored stage-many-topics stage-own-topic stage-delayed stage-keeps-nothing stage-bad-topic stage-twice",
		settle: resettle(func(st *transport.Settlement) { st.Stage = nil }),
	},
	{
		name: "stages to the first topic only", caught: "stage-many-topics",
		settle: resettle(func(st *transport.Settlement) {
			st.Stage = slices.DeleteFunc(slices.Clone(st.Stage), func(m transport.Staged) bool { return m.Topic.Name != st.Stage[0].Topic.Name })
		}),
	},
}

var settled sync.Map
