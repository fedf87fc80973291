package transporttest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

var replayFaults = []fault{
	{
		name: "forgets replays", caught: "replays-counted replays-kept replay-forgets-the-past archive-put-replayed",
		receive: rereceive(func(d *transport.Delivery) { d.Replays = 0 }),
	},
	{
		name: "knows only whether it was replayed", caught: "replays-counted replays-kept archive-put-replayed",
		receive: rereceive(func(d *transport.Delivery) { d.Replays = min(d.Replays, 1) }),
	},
	{
		name: "forgets replays of what fails", caught: "replays-kept replay-forgets-the-past",
		receive: rereceive(func(d *transport.Delivery) {
			if d.Attempt > 1 {
				d.Replays = 0
			}
		}),
	},
	{
		name: "forgets replays of what is deferred", caught: "replays-kept",
		settle: resettle(func(st *transport.Settlement) {
			if st.Verdict == transport.Deferred {
				deferred.Store(st.ID, true)
			}
		}),
		receive: rereceive(func(d *transport.Delivery) {
			if _, was := deferred.LoadAndDelete(d.ID); was {
				d.Replays = 0
			}
		}),
	},
	{
		name: "forgets replays when a consumer crashes", caught: "replays-kept",
		receive: rereceive(func(d *transport.Delivery) {
			if d.Redelivered > 0 {
				d.Replays = 0
			}
		}),
	},
	{
		name: "counts replays of other groups", caught: "replays-counted",
		receive: rereceive(func(d *transport.Delivery) {
			if d.Group == "h" {
				d.Replays++
			}
		}),
	},
	{
		name: "does not write replays into letters", caught: "letter-replays archive-put-whole archive-put-replayed",
		letters: func(ls []*transport.Letter) []*transport.Letter {
			for _, l := range ls {
				l.Replays = 0
			}
			return ls
		},
	},
	{
		name: "replays in two steps", caught: "replay-concurrently archive-put-or-replay",
		replay: func(b *broken, ctx context.Context, t transport.Topic, group string, ids []string) (n int, err error) {
			for _, id := range ids {
				l, missing := b.Transport.Letter(ctx, t, group, id)
				<-time.After(time.Millisecond)
				if missing == nil {
					n++
					err = errors.Join(err, b.Transport.Publish(ctx, t, messagesOf{l.Message}))
				}
			}
			_, err2 := b.Transport.Discard(ctx, t, group, ids...)
			return n, errors.Join(err, err2)
		},
	},
}

var deferred sync.Map

var boundFaults = []fault{
	{
		name: "keeps every letter", caught: "bound-own-letters bound-length bound-age bound-age-of-the-put bound-oldest-first bound-reported bound-counted",
		join: func(_ *transport.Topic, g *transport.Group) { g.Letters = transport.LetterBound{MaxLen: -1} },
	},
	{
		name: "keeps one letter too few", caught: "bound-length bound-oldest-first",
		join: func(_ *transport.Topic, g *transport.Group) { g.Letters.MaxLen = max(g.Letters.MaxLen-1, 1) },
	},
	{
		name: "keeps a few letters if no bound is set", caught: "bound-length",
		join: func(_ *transport.Topic, g *transport.Group) {
			if g.Letters.MaxLen <= 0 {
				g.Letters.MaxLen = 10
			}
		},
	},
	{
		name: "keeps letters whatever their age", caught: "bound-age bound-age-of-the-put",
		join: func(_ *transport.Topic, g *transport.Group) { g.Letters.MaxAge = 0 },
	},
	{
		name: "removes letters before their time", caught: "bound-age bound-age-of-the-put",
		join: func(_ *transport.Topic, g *transport.Group) { g.Letters.MaxAge = min(g.Letters.MaxAge, short) },
	},
	{
		name: "has an age for all letters", caught: "bound-age-of-the-put",
		join: func(_ *transport.Topic, g *transport.Group) {
			if g.Letters.MaxAge == 0 {
				g.Letters.MaxAge = time.Hour
			}
		},
	},
	{
		name: "removes the newest letters", caught: "bound-length bound-oldest-first bound-own-letters",
		join: func(_ *transport.Topic, g *transport.Group) { g.Letters.MaxLen = -g.Letters.MaxLen },
		receive: func(s *brokenSub, ctx context.Context, limit int) (deliveriesOf, error) {
			if n := -s.group.Letters.MaxLen; n > 0 {
				ls, _ := s.tr.Transport.Letters(ctx, s.topic, s.group.Name, "", 1000)
				for _, l := range ls[min(int(n), len(ls)):] {
					s.tr.Transport.Discard(ctx, s.topic, s.group.Name, l.LetterID)
				}
			}
			return s.Subscription.Receive(ctx, limit)
		},
	},
	{
		name: "bounds the letters of other groups", caught: "bound-own-letters",
		join: func(_ *transport.Topic, g *transport.Group) {
			if g.Name == "h" {
				g.Letters.MaxLen = 3
			}
		},
	},
	{
		name: "does not count what the bound removes", caught: "bound-counted",
		lag: func(lag *transport.Lag, _ *error) { lag.LettersDropped = 0 },
	},
	{
		name: "counts what was discarded", caught: "bound-counted",
		discard: func(b *broken, ctx context.Context, t transport.Topic, group string, ids []string) (int, error) {
			n, err := b.Transport.Discard(ctx, t, group, ids...)
			discarded += int64(n)
			return n, err
		},
		lag: func(lag *transport.Lag, _ *error) { lag.LettersDropped += discarded },
	},
	{
		name: "reports losses in words only", caught: "bound-reported hard-reports",
		join: func(_ *transport.Topic, g *transport.Group) {
			warn := g.Warn
			g.Warn = func(err error) { warn(errors.New(err.Error())) }
		},
	},
}

var discarded int64
