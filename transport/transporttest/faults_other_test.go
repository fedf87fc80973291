package transporttest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/typedbus/typedbus/transport"
)

var letterFaults = []fault{
	{
		name: "drops dead letters", caught: "dead-once letter-facts letters-count replay-own-group",
		settle: resettle(func(st *transport.Settlement) {
			if st.Verdict == transport.Dead {
				st.Verdict = transport.Done
			}
		}),
	},
	{
		name: "stores what the handler left", caught: "letter-as-stored",
		receive: rereceive(func(d *transport.Delivery) { kept.keep(d.Message) }),
		letters: func(ls []*transport.Letter) []*transport.Letter {
			for _, l := range ls {
				if m := kept.find(l.ID); m != nil {
					l.Message = m
				}
			}
			return ls
		},
	},
	{
		name: "forgets why", caught: "letter-facts",
		settle: resettle(func(st *transport.Settlement) { st.Reason, st.Error = "", "" }),
	},
	{
		name: "cuts error texts short", caught: "letter-error-text",
		settle: resettle(func(st *transport.Settlement) { st.Error = st.Error[:min(len(st.Error), 100)] }),
	},
	{
		name: "lists the newest letters first", caught: "letters-oldest-first letters-after-removed",
		letters: func(ls []*transport.Letter) []*transport.Letter { slices.Reverse(ls); return ls },
	},
	{
		name: "gives short pages", caught: "letters-last-page letters-oldest-first",
		letters: func(ls []*transport.Letter) []*transport.Letter { return ls[:min(len(ls), 5)] },
	},
	{
		name: "replays to every group", caught: "replay-own-group",
		replay: func(b *broken, ctx context.Context, t transport.Topic, group string, ids []string) (int, error) {
			ls, err := b.Transport.Letters(ctx, t, group, "", 1000)
			for _, l := range ls {
				if slices.Contains(ids, l.LetterID) {
					err = errors.Join(err, b.Transport.Publish(ctx, t, messagesOf{l.Message}))
				}
			}
			n, err2 := b.Transport.Discard(ctx, t, group, ids...)
			return n, errors.Join(err, err2)
		},
	},
	{
		name: "replays to consumers that are there, only", caught: "replay-without-consumer",
		replay: func(b *broken, ctx context.Context, t transport.Topic, group string, ids []string) (int, error) {
			n, err := b.Transport.Replay(ctx, t, group, ids...)
			if lag, _ := b.Transport.Lag(ctx, t, group); lag.Undelivered > 0 && n == 1 {
				sub, _ := b.Transport.Subscribe(ctx, t, transport.Group{Name: group})
				<-time.After(time.Second) // a consumer that is there has taken it by now
				brief, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				ds, _ := sub.Receive(brief, 1)
				for _, d := range ds {
					sub.Settle(ctx, []transport.Settlement{{Delivery: d, Verdict: transport.Done}})
				}
				sub.Close(ctx)
			}
			return n, err
		},
	},
	{
		name: "replays and keeps the letter", caught: "replay-own-group replay-twice replay-dies-again",
		replay: func(b *broken, ctx context.Context, t transport.Topic, group string, ids []string) (int, error) {
			ls, err := b.Transport.Letters(ctx, t, group, "", 1000)
			n := 0
			for _, l := range ls {
				if slices.Contains(ids, l.LetterID) {
					n++
					err = errors.Join(err, b.Transport.Publish(ctx, t, messagesOf{l.Message}))
				}
			}
			return n, err
		},
	},
	{
		name: "counts from the last attempt after a replay", caught: "replay-forgets-the-past",
		receive: rereceive(func(d *transport.Delivery) {
			d.Attempt = max(d.Attempt, past.attempt(d.ID))
			past.keep(d)
		}),
	},
	{
		name: "counts ids, not letters", caught: "replay-twice discard-twice",
		replay: func(b *broken, ctx context.Context, t transport.Topic, group string, ids []string) (int, error) {
			_, err := b.Transport.Replay(ctx, t, group, ids...)
			return len(ids), err
		},
		discard: func(b *broken, ctx context.Context, t transport.Topic, group string, ids []string) (int, error) {
			_, err := b.Transport.Discard(ctx, t, group, ids...)
			return len(ids), err
		},
	},
	{
		name: "replays ten letters at most", caught: "letters-many",
		replay: func(b *broken, ctx context.Context, t transport.Topic, group string, ids []string) (int, error) {
			return b.Transport.Replay(ctx, t, group, ids[:min(len(ids), 10)]...)
		},
	},
	{
		name: "discards by replaying", caught: "discard",
		discard: func(b *broken, ctx context.Context, t transport.Topic, group string, ids []string) (int, error) {
			return b.Transport.Replay(ctx, t, group, ids...)
		},
	},
	{
		name: "discards nothing", caught: "discard discard-twice letters-count letters-last-page",
		discard: func(*broken, context.Context, transport.Topic, string, []string) (int, error) { return 0, nil },
	},
}

// past remembers the highest attempt of each message.
var past attempts

type attempts struct{ pointers }

func (a *attempts) keep(d *transport.Delivery) { a.byID.Store(d.ID, d.Attempt) }

func (a *attempts) attempt(id string) int {
	n, _ := a.byID.Load(id)
	i, _ := n.(int)
	return i
}

var otherFaults = []fault{
	{
		name: "shows no pending messages", caught: "lag-numbers lag-retried lag-after-crash",
		lag: func(lag *transport.Lag, _ *error) { lag.Pending = 0 },
	},
	{
		name: "shows waiting messages as undelivered", caught: "lag-numbers",
		lag: func(lag *transport.Lag, _ *error) { lag.Undelivered, lag.Waiting = lag.Undelivered+lag.Waiting, 0 },
	},
	{
		name: "does not know the oldest", caught: "lag-oldest",
		lag: func(lag *transport.Lag, _ *error) { lag.Oldest = 0 },
	},
	{
		name: "shows a group that is not there", caught: "lag-no-group",
		lag: func(_ *transport.Lag, err *error) { *err = nil },
	},
	{
		name: "says it heard from the broker before it did", caught: "pulse-zero",
		pulse: func(*brokenSub, time.Time) time.Time { return time.Now() },
	},
	{
		name: "never says it heard from the broker", caught: "pulse-read pulse-idle",
		pulse: func(*brokenSub, time.Time) time.Time { return time.Time{} },
	},
	{
		name: "trims what is not handled", caught: "soft-keeps-what-is-not-handled soft-keeps-what-is-pending soft-keeps-without-groups soft-keeps-what-waits abandoned-not-while-read",
		publish: func(b *broken, ctx context.Context, t transport.Topic, ms messagesOf) error {
			t.Retention.Hard = true
			return b.Transport.Publish(ctx, t, ms)
		},
	},
	{
		name: "gives groups up at once", caught: "abandoned-in-time abandoned-never",
		publish: func(b *broken, ctx context.Context, t transport.Topic, ms messagesOf) error {
			t.Retention.AbandonAfter = 1
			return b.Transport.Publish(ctx, t, ms)
		},
	},
	{
		name: "does not enforce the hard bound", caught: "hard-reports",
		publish: func(b *broken, ctx context.Context, t transport.Topic, ms messagesOf) error {
			t.Retention.Hard = false
			return b.Transport.Publish(ctx, t, ms)
		},
	},
	{
		name: "keeps the oldest under the hard bound", caught: "hard-keeps-the-newest",
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			ds, err := s.Subscription.Receive(ctx, limit)
			for i, d := range ds {
				d.Body = []byte(numbered("m", len(ds))[i])
			}
			return ds, err
		},
	},
	{
		name: "does not warn", caught: "hard-reports outage-warns bound-reported",
		join: func(_ *transport.Topic, g *transport.Group) { g.Warn = nil },
	},
	{
		name: "warns at each try", caught: "outage-warns-once bound-reported",
		join: func(_ *transport.Topic, g *transport.Group) {
			warn := g.Warn
			g.Warn = func(err error) { warn(err); warn(err) }
		},
	},
	{
		name: "waits for its subscriptions' contexts", caught: "subscribe-context",
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			if s.joined.Err() != nil {
				return nil, s.joined.Err()
			}
			return s.Subscription.Receive(ctx, limit)
		},
	},
	{
		name: "needs topics that exist", caught: "topic-need-not-exist",
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			ds, err := s.Subscription.Receive(ctx, limit)
			if lag, _ := s.tr.Transport.Lag(ctx, s.topic, s.group.Name); err != nil && lag == (transport.Lag{}) {
				return nil, errors.New("no such topic")
			}
			return ds, err
		},
	},
	{
		name: "panics when called concurrently", caught: "many-publishers-and-consumers many-verdicts",
		settle: func() func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
			fails := every(50)
			return func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error {
				if len(ss) > 0 && fails() {
					return &transport.SettleError{Errs: slices.Repeat([]error{errors.New("busy")}, len(ss))}
				}
				return s.Subscription.Settle(ctx, ss)
			}
		}(),
	},
	{
		name: "says Close worked during an outage", caught: "outage-close",
		close: func(s *brokenSub, ctx context.Context) error {
			s.Subscription.Close(ctx)
			return nil
		},
	},
}
