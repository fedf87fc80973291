package transporttest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// reput makes a fault of PutLetter from a function that changes what is put.
func reput(change func(l *transport.Letter)) func(*broken, context.Context, transport.Topic, string, *transport.Letter, string) (string, error) {
	return func(b *broken, ctx context.Context, t transport.Topic, group string, l *transport.Letter, replaces string) (string, error) {
		c := *l
		c.Message = l.Clone()
		change(&c)
		return b.Transport.PutLetter(ctx, t, group, &c, replaces)
	}
}

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

var archiveFaults = []fault{
	{
		name: "returns the first letter, whatever the id", caught: "archive-letter archive-no-letter archive-put",
		letter: func(b *broken, ctx context.Context, t transport.Topic, group, _ string) (*transport.Letter, error) {
			ls, err := b.Transport.Letters(ctx, t, group, "", 1)
			if len(ls) == 0 {
				return nil, errors.Join(err, transport.ErrNoLetter)
			}
			return ls[0], err
		},
	},
	{
		name: "returns the same letter to all", caught: "archive-letter",
		letter: func(b *broken, ctx context.Context, t transport.Topic, group, id string) (*transport.Letter, error) {
			l, err := b.Transport.Letter(ctx, t, group, id)
			if err == nil {
				shared, _ := sharedLetters.LoadOrStore(t.Name+id, l)
				l = shared.(*transport.Letter)
			}
			return l, err
		},
	},
	{
		name: "returns no error for no letter", caught: "archive-no-letter archive-put",
		letter: func(b *broken, ctx context.Context, t transport.Topic, group, id string) (*transport.Letter, error) {
			l, err := b.Transport.Letter(ctx, t, group, id)
			if errors.Is(err, transport.ErrNoLetter) {
				err = nil
			}
			return l, err
		},
	},
	{
		name: "knows no letters of groups that are not there", caught: "archive-no-letter",
		letter: func(b *broken, ctx context.Context, t transport.Topic, group, id string) (*transport.Letter, error) {
			l, err := b.Transport.Letter(ctx, t, group, id)
			if _, lagErr := b.Transport.Lag(ctx, t, group); lagErr != nil {
				err = lagErr
			}
			return l, err
		},
	},
	{
		name: "puts in two steps", caught: "archive-put-concurrently archive-put-or-replay",
		put: func(b *broken, ctx context.Context, t transport.Topic, group string, l *transport.Letter, replaces string) (string, error) {
			if replaces != "" {
				if _, err := b.Transport.Letter(ctx, t, group, replaces); err != nil {
					return "", err
				}
				<-time.After(time.Millisecond)
				defer b.Transport.Discard(ctx, t, group, replaces)
			}
			return b.Transport.PutLetter(ctx, t, group, l, "")
		},
	},
	{
		name: "puts and keeps the old one", caught: "archive-put archive-put-concurrently archive-put-or-replay",
		put: func(b *broken, ctx context.Context, t transport.Topic, group string, l *transport.Letter, replaces string) (string, error) {
			if replaces != "" {
				if _, err := b.Transport.Letter(ctx, t, group, replaces); err != nil {
					return "", err
				}
			}
			return b.Transport.PutLetter(ctx, t, group, l, "")
		},
	},
	{
		name: "puts in the place of the old one", caught: "archive-put",
		put: func(b *broken, ctx context.Context, t transport.Topic, group string, l *transport.Letter, replaces string) (string, error) {
			var later []*transport.Letter
			if replaces != "" {
				later, _ = b.Transport.Letters(ctx, t, group, replaces, 1000)
			}
			id, err := b.Transport.PutLetter(ctx, t, group, l, replaces)
			for _, l := range later {
				if err == nil {
					b.Transport.PutLetter(ctx, t, group, l, l.LetterID)
				}
			}
			return id, err
		},
	},
	{
		name: "puts though there is nothing to replace", caught: "archive-put-beside archive-put-concurrently",
		put: func(b *broken, ctx context.Context, t transport.Topic, group string, l *transport.Letter, replaces string) (string, error) {
			id, err := b.Transport.PutLetter(ctx, t, group, l, replaces)
			if err != nil {
				b.Transport.PutLetter(ctx, t, group, l, "")
			}
			return id, err
		},
	},
	{
		name: "replaces the last letter if it is told none", caught: "archive-put-beside archive-put-whole",
		put: func(b *broken, ctx context.Context, t transport.Topic, group string, l *transport.Letter, replaces string) (string, error) {
			if ls, _ := b.Transport.Letters(ctx, t, group, "", 1000); replaces == "" && len(ls) > 0 {
				replaces = ls[len(ls)-1].LetterID
			}
			return b.Transport.PutLetter(ctx, t, group, l, replaces)
		},
	},
	{
		name: "puts with the LetterID of the letter", caught: "archive-put-whole archive-put",
		put: func(b *broken, ctx context.Context, t transport.Topic, group string, l *transport.Letter, replaces string) (string, error) {
			_, err := b.Transport.PutLetter(ctx, t, group, l, replaces)
			return l.LetterID, err
		},
	},
	{
		name: "lets a letter die when it is put", caught: "archive-put-whole archive-died bound-age-of-the-put",
		put: reput(func(l *transport.Letter) { l.Died = time.Now() }),
	},
	{
		name: "stores a message when it is put", caught: "archive-put-whole archive-put-replayed archive-put-now",
		put: reput(func(l *transport.Letter) { l.Time = time.Now() }),
	},
	{
		name: "puts zero times", caught: "archive-put-now",
		put: reput(func(l *transport.Letter) {
			for _, at := range []*time.Time{&l.Time, &l.Died} {
				if at.IsZero() {
					*at = time.Unix(0, 0)
				}
			}
		}),
	},
	{
		name: "puts the message only", caught: "archive-put-whole archive-put-replayed",
		put: reput(func(l *transport.Letter) {
			*l = transport.Letter{Message: l.Message, Died: l.Died}
		}),
	},
	{
		name: "forgets replays of a letter that is put", caught: "archive-put-whole archive-put-replayed",
		put: reput(func(l *transport.Letter) { l.Replays = 0 }),
	},
	{
		name: "puts texts only", caught: "archive-put-whole archive-put-replayed",
		put: reput(func(l *transport.Letter) { l.Body = []byte(strconv.Quote(string(l.Body))) }),
	},
	{
		name: "puts no empty headers", caught: "archive-put-whole archive-put-replayed",
		put: reput(func(l *transport.Letter) {
			l.Headers = slices.DeleteFunc(l.Headers, func(h transport.Header) bool { return h.Value == "" })
		}),
	},
	{
		name: "keeps the letter that is put", caught: "archive-put-whole",
		put: func(b *broken, ctx context.Context, t transport.Topic, group string, l *transport.Letter, replaces string) (string, error) {
			id, err := b.Transport.PutLetter(ctx, t, group, l, replaces)
			sharedLetters.Store("put"+t.Name+id, l.Message)
			return id, err
		},
		letter: func(b *broken, ctx context.Context, t transport.Topic, group, id string) (*transport.Letter, error) {
			l, err := b.Transport.Letter(ctx, t, group, id)
			if m, ok := sharedLetters.Load("put" + t.Name + id); ok && err == nil {
				l.Message = m.(*transport.Message)
			}
			return l, err
		},
	},
	{
		name: "makes the group when a letter is put", caught: "archive-early",
		put: func(b *broken, ctx context.Context, t transport.Topic, group string, l *transport.Letter, replaces string) (string, error) {
			sub, err := b.Transport.Subscribe(ctx, t, transport.Group{Name: group})
			if err != nil {
				return "", err
			}
			defer sub.Close(ctx)
			return b.Transport.PutLetter(ctx, t, group, l, replaces)
		},
	},
	{
		name: "puts no letter into a group that is not there", caught: "archive-early",
		put: func(b *broken, ctx context.Context, t transport.Topic, group string, l *transport.Letter, replaces string) (string, error) {
			if _, err := b.Transport.Lag(ctx, t, group); err != nil {
				return "", err
			}
			return b.Transport.PutLetter(ctx, t, group, l, replaces)
		},
	},
}

var sharedLetters sync.Map

var actFaults = []fault{
	{
		name: "records nothing", caught: "act-whole acts-oldest-first acts-of-the-group acts-outlive-letters acts-kept archive-early",
		record: func(*broken, context.Context, transport.Topic, string, transport.Act) error { return nil },
	},
	{
		name: "records no count that is not known", caught: "act-whole",
		record: func(b *broken, ctx context.Context, t transport.Topic, group string, a transport.Act) error {
			a.Count = max(a.Count, 0)
			return b.Transport.RecordAct(ctx, t, group, a)
		},
	},
	{
		name: "keeps the id and time that an act came with", caught: "act-whole",
		record: func(b *broken, ctx context.Context, t transport.Topic, group string, a transport.Act) error {
			given.Store(a.What, a)
			return b.Transport.RecordAct(ctx, t, group, a)
		},
		acts: func(b *broken, ctx context.Context, t transport.Topic, group, after string, limit int) ([]transport.Act, error) {
			as, err := b.Transport.Acts(ctx, t, group, after, limit)
			for i := range as {
				if a, ok := given.Load(as[i].What); ok && a.(transport.Act).ActID != "" {
					as[i] = a.(transport.Act)
				}
			}
			return as, err
		},
	},
	{
		name: "lists the newest acts first", caught: "acts-oldest-first act-whole",
		acts: func(b *broken, ctx context.Context, t transport.Topic, group, after string, limit int) ([]transport.Act, error) {
			as, err := b.Transport.Acts(ctx, t, group, after, limit)
			slices.Reverse(as)
			return as, err
		},
	},
	{
		name: "begins every page of acts one too late", caught: "acts-oldest-first acts-kept",
		acts: func(b *broken, ctx context.Context, t transport.Topic, group, after string, limit int) ([]transport.Act, error) {
			as, err := b.Transport.Acts(ctx, t, group, after, limit)
			if after != "" && len(as) > 0 {
				as = as[1:]
			}
			return as, err
		},
	},
	{
		name: "knows no limit of acts", caught: "acts-oldest-first",
		acts: func(b *broken, ctx context.Context, t transport.Topic, group, after string, _ int) ([]transport.Act, error) {
			return b.Transport.Acts(ctx, t, group, after, 1<<20)
		},
	},
	{
		name: "has one record for all groups", caught: "acts-of-the-group",
		record: func(b *broken, ctx context.Context, t transport.Topic, _ string, a transport.Act) error {
			return b.Transport.RecordAct(ctx, t, "all", a)
		},
		acts: func(b *broken, ctx context.Context, t transport.Topic, _, after string, limit int) ([]transport.Act, error) {
			return b.Transport.Acts(ctx, t, "all", after, limit)
		},
	},
	{
		name: "forgets acts when the letters are gone", caught: "acts-outlive-letters",
		acts: func(b *broken, ctx context.Context, t transport.Topic, group, after string, limit int) ([]transport.Act, error) {
			if n, err := b.Transport.CountLetters(ctx, t, group); n == 0 {
				return nil, err
			}
			return b.Transport.Acts(ctx, t, group, after, limit)
		},
	},
	{
		name: "keeps 9,999 acts", caught: "acts-kept",
		acts: func(b *broken, ctx context.Context, t transport.Topic, group, after string, limit int) ([]transport.Act, error) {
			as, err := b.Transport.Acts(ctx, t, group, after, limit)
			if all, _ := b.Transport.Acts(ctx, t, group, "", 10_000); after == "" && len(all) == 10_000 {
				as = as[1:]
			}
			return as, err
		},
	},
}

var given sync.Map
