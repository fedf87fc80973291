package claimtest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/typedbus/typedbus/transport"
)

var faults = []fault{
	{name: "topics are not told apart", caught: "topic-group-and-key-name-a-claim",
		mistake: func(c *transport.Claim) { c.Topic = "" }},
	{name: "groups are not told apart", caught: "topic-group-and-key-name-a-claim",
		mistake: func(c *transport.Claim) { c.Group = "" }},
	{name: "names run into each other", caught: "topic-group-and-key-name-a-claim",
		mistake: func(c *transport.Claim) {
			c.Topic, c.Group, c.Key = "", "", c.Topic+"."+c.Group+"."+c.Key
		}},
	{name: "upper and lower case are the same", caught: "topic-group-and-key-name-a-claim",
		mistake: func(c *transport.Claim) { c.Key = strings.ToLower(c.Key) }},
	{name: "keys end at a zero", caught: "a-key-is-any-bytes",
		mistake: func(c *transport.Claim) { c.Key, _, _ = strings.Cut(c.Key, "\x00") }},
	{name: "keys are cut", caught: "a-key-is-any-bytes",
		mistake: func(c *transport.Claim) { c.Key = c.Key[:min(len(c.Key), 1000)] }},
	{name: "keys are text", caught: "a-key-is-any-bytes",
		mistake: func(c *transport.Claim) { c.Key = strings.ToValidUTF8(c.Key, "?") }},
	{name: "each process has its own", apart: true, caught: "an-absent-claim-is-begun a-done-claim-is-not-begun many-begin-one-claim"},

	{name: "claims run for ever", caught: "running-claims-expire an-expired-claim-is-begun many-begin-an-expired-claim",
		begin: func(b *broken, ctx context.Context, c transport.Claim, _ time.Duration) (bool, time.Duration, error) {
			return b.MemoryClaims.Begin(ctx, c, 1000*time.Hour)
		}},
	{name: "claims expire too early", caught: "running-claims-expire",
		begin: func(b *broken, ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
			return b.MemoryClaims.Begin(ctx, c, expiry/2)
		}},
	{name: "asking prolongs", caught: "running-claims-expire",
		begin: func(b *broken, ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
			done, wait, err := b.MemoryClaims.Begin(ctx, c, expiry)
			if wait > 0 {
				b.take(ctx, c, expiry)
			}
			return done, wait, err
		}},
	{name: "done is begun", caught: "a-done-claim-is-not-begun finishing-twice done-claims-are-forgotten what-is-done-is-not-released",
		begin: func(b *broken, ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
			if b.is(ctx, c) == done {
				b.take(ctx, c, expiry)
			}
			return b.MemoryClaims.Begin(ctx, c, expiry)
		}},
	{name: "done with a time", caught: "a-done-claim-is-not-begun",
		begin: func(b *broken, ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
			done, wait, err := b.MemoryClaims.Begin(ctx, c, expiry)
			if done {
				wait = time.Second
			}
			return done, wait, err
		}},
	{name: "nobody knows how long", caught: "how-long-a-claim-still-has",
		begin: func(b *broken, ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
			done, wait, err := b.MemoryClaims.Begin(ctx, c, expiry)
			return done, min(wait, time.Second), err
		}},
	{name: "the whole time is left always", caught: "how-long-a-claim-still-has",
		begin: func(b *broken, ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
			done, wait, err := b.MemoryClaims.Begin(ctx, c, expiry)
			if wait > 0 {
				wait = expiry
			}
			return done, wait, err
		}},
	{name: "running is no wait", caught: "an-absent-claim-is-begun many-begin-one-claim",
		begin: func(b *broken, ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
			done, _, err := b.MemoryClaims.Begin(ctx, c, expiry)
			return done, 0, err
		}},
	{name: "look, then begin", caught: "many-begin-one-claim many-begin-an-expired-claim",
		begin: func(b *broken, ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
			if b.is(ctx, c) != "absent" {
				return b.MemoryClaims.Begin(ctx, c, expiry)
			}
			<-time.After(time.Millisecond)
			b.take(ctx, c, expiry)
			return false, 0, nil
		}},
	{name: "an owner cannot begin again", caught: "the-same-owner-begins-again",
		begin: func(b *broken, ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
			if b.is(ctx, c) == running {
				c.Owner = "nobody"
			}
			return b.MemoryClaims.Begin(ctx, c, expiry)
		}},
	{name: "beginning again does not prolong", caught: "the-same-owner-begins-again",
		begin: func(b *broken, ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
			if b.is(ctx, c) != running {
				return b.MemoryClaims.Begin(ctx, c, expiry)
			}
			another := c
			another.Owner = "nobody"
			done, wait, err := b.MemoryClaims.Begin(ctx, another, expiry)
			if lost, _ := b.MemoryClaims.Renew(ctx, []transport.Claim{c}, wait); len(lost) == 0 {
				return false, 0, nil
			}
			return done, wait, err
		}},

	{name: "renewing does nothing", caught: "renewed-claims-expire-later renewed-claims-expire an-expired-claim-is-renewed",
		renew: func(*broken, context.Context, []transport.Claim, time.Duration) ([]transport.Claim, error) {
			return nil, nil
		}},
	{name: "renewing adds", caught: "renewed-claims-expire",
		renew: func(b *broken, ctx context.Context, cs []transport.Claim, expiry time.Duration) ([]transport.Claim, error) {
			return b.MemoryClaims.Renew(ctx, cs, expiry+long)
		}},
	{name: "one that is lost ends renewing", caught: "claims-of-others-are-lost renewing-many",
		renew: func(b *broken, ctx context.Context, cs []transport.Claim, expiry time.Duration) (lost []transport.Claim, err error) {
			for i, c := range cs {
				if lost, _ = b.MemoryClaims.Renew(ctx, cs[i:i+1], expiry); len(lost) > 0 {
					return []transport.Claim{c}, nil
				}
			}
			return nil, nil
		}},
	{name: "only the first hundred", caught: "renewing-many",
		renew: func(b *broken, ctx context.Context, cs []transport.Claim, expiry time.Duration) ([]transport.Claim, error) {
			return b.MemoryClaims.Renew(ctx, cs[:min(100, len(cs))], expiry)
		}},
	{name: "what is lost is renewed", caught: "claims-of-others-are-lost claims-of-others-are-not-renewed",
		renew: func(b *broken, ctx context.Context, cs []transport.Claim, expiry time.Duration) ([]transport.Claim, error) {
			for _, c := range cs {
				b.take(ctx, c, expiry)
			}
			return nil, nil
		}},
	{name: "what is lost is taken", caught: "claims-of-others-are-not-renewed",
		renew: func(b *broken, ctx context.Context, cs []transport.Claim, expiry time.Duration) ([]transport.Claim, error) {
			lost, err := b.MemoryClaims.Renew(ctx, cs, expiry)
			for _, l := range lost {
				if b.is(ctx, l) == running {
					l.Owner = "another"
					b.take(ctx, l, expiry)
				}
			}
			return lost, err
		}},
	{name: "a claim once in a call", caught: "two-owners-of-one-claim-in-one-call",
		renew: func(b *broken, ctx context.Context, cs []transport.Claim, expiry time.Duration) ([]transport.Claim, error) {
			seen := map[string]bool{}
			for _, c := range cs {
				if seen[c.Key] {
					return nil, errors.New("the same row twice")
				}
				seen[c.Key] = true
			}
			return b.MemoryClaims.Renew(ctx, cs, expiry)
		}},
	{name: "done is not lost", caught: "claims-of-others-are-lost",
		renew: func(b *broken, ctx context.Context, cs []transport.Claim, expiry time.Duration) (lost []transport.Claim, err error) {
			all, err := b.MemoryClaims.Renew(ctx, cs, expiry)
			for _, l := range all {
				if b.is(ctx, l) == running {
					lost = append(lost, l)
				}
			}
			return lost, err
		}},
	{name: "what has expired is lost", caught: "an-expired-claim-is-renewed",
		renew: func(b *broken, ctx context.Context, cs []transport.Claim, expiry time.Duration) (lost []transport.Claim, err error) {
			for i, c := range cs {
				if b.is(ctx, c) == "absent" {
					lost = append(lost, c)
				} else if l, _ := b.MemoryClaims.Renew(ctx, cs[i:i+1], expiry); len(l) > 0 {
					lost = append(lost, c)
				}
			}
			return lost, nil
		}},
	{name: "one at a time", caught: "many-work-at-the-same-time",
		renew: func() func(b *broken, ctx context.Context, cs []transport.Claim, expiry time.Duration) ([]transport.Claim, error) {
			turn := make(chan bool, 1)
			return func(b *broken, ctx context.Context, cs []transport.Claim, expiry time.Duration) ([]transport.Claim, error) {
				select {
				case turn <- true:
					defer func() { <-turn }()
					<-time.After(time.Millisecond)
					return b.MemoryClaims.Renew(ctx, cs, expiry)
				default:
					return nil, errors.New("busy")
				}
			}
		}()},

	{name: "finishing forgets", caught: "a-done-claim-is-not-begun finishing-twice finishing-keeps-for-the-given-time",
		finish: func(b *broken, ctx context.Context, c transport.Claim, _ time.Duration) error {
			return b.MemoryClaims.Finish(ctx, c, 0)
		}},
	{name: "done is never forgotten", caught: "done-claims-are-forgotten",
		finish: func(b *broken, ctx context.Context, c transport.Claim, _ time.Duration) error {
			return b.MemoryClaims.Finish(ctx, c, 1000*time.Hour)
		}},
	{name: "done expires as if it ran", caught: "finishing-keeps-for-the-given-time finishing-what-another-has",
		finish: func(b *broken, ctx context.Context, c transport.Claim, keep time.Duration) error {
			probe := c
			probe.Owner = "probe"
			_, wait, _ := b.MemoryClaims.Begin(ctx, probe, keep)
			if wait > 0 {
				keep = wait
			}
			return b.MemoryClaims.Finish(ctx, c, keep)
		}},
	{name: "only owners finish", caught: "finishing-what-another-has",
		finish: func(b *broken, ctx context.Context, c transport.Claim, keep time.Duration) error {
			if lost, _ := b.MemoryClaims.Renew(ctx, []transport.Claim{c}, keep); len(lost) > 0 {
				return nil
			}
			return b.MemoryClaims.Finish(ctx, c, keep)
		}},
	{name: "what is not running cannot be finished", caught: "finishing-an-expired-claim finishing-twice",
		finish: func(b *broken, ctx context.Context, c transport.Claim, keep time.Duration) error {
			if b.is(ctx, c) != running {
				return errors.New("not running")
			}
			return b.MemoryClaims.Finish(ctx, c, keep)
		}},
	{name: "finishing twice releases", caught: "finishing-twice",
		finish: func(b *broken, ctx context.Context, c transport.Claim, keep time.Duration) error {
			if b.is(ctx, c) == done {
				keep = 0
			}
			return b.MemoryClaims.Finish(ctx, c, keep)
		}},

	{name: "releasing does nothing", caught: "a-released-claim-is-absent",
		release: func(*broken, context.Context, transport.Claim) error { return nil }},
	{name: "everybody releases", caught: "claims-of-others-are-not-released",
		release: func(b *broken, ctx context.Context, c transport.Claim) error {
			if b.is(ctx, c) != running {
				return nil
			}
			return b.MemoryClaims.Finish(ctx, c, 0)
		}},
	{name: "done is released", caught: "what-is-done-is-not-released",
		release: func(b *broken, ctx context.Context, c transport.Claim) error {
			if b.is(ctx, c) == done {
				return b.MemoryClaims.Finish(ctx, c, 0)
			}
			return b.MemoryClaims.Release(ctx, c)
		}},
	{name: "releasing what is not there is an error", caught: "claims-of-others-are-not-released",
		release: func(b *broken, ctx context.Context, c transport.Claim) error {
			if b.is(ctx, c) == "absent" {
				return errors.New("no such claim")
			}
			return b.MemoryClaims.Release(ctx, c)
		}},
}
