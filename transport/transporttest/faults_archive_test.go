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
