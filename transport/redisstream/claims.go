package redisstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// Begin, Renew, Finish and Release are the Claims of package middleware, whose comment is their contract: what a group handles
// now, and what it has handled. A claim is a string in the slot of its topic's stream that Redis forgets by itself. It says
// claimDone, or claimRuns and its owner.
//
// A call that had no answer may be repeated. go-redis repeats a plain SET by itself, where the client may.
const (
	claimDone = "1" // for the number alone Redis needs no memory
	claimRuns = "run "
)

// claimBatch bounds how many claims one script renews.
const claimBatch = 200

// Begin makes an absent or expired claim running, for its owner, until expiry has passed, and returns false and 0. Of a claim
// that is done it returns true; of one that runs for another owner, how long it still has. A claim that runs for the same owner
// is begun again. Times are Redis' own, in milliseconds. It takes one round trip (SET), or two if the claim runs.
func (t *Transport) Begin(ctx context.Context, c transport.Claim, expiry time.Duration) (done bool, wait time.Duration, err error) {
	key, err := t.claim(c)
	if err != nil {
		return false, 0, err
	}
	set := redis.NewStringCmd(ctx, "set", key, claimRuns+c.Owner, "nx", "get", "px", claimMillis(expiry))
	switch err := t.cmd.Process(ctx, set); {
	case err == redis.Nil:
		return false, 0, nil
	case err != nil:
		return false, 0, t.claimError(ctx, "begin", c, err)
	case set.Val() == claimDone:
		return true, 0, nil
	}
	reply, err := scriptBegin.run(ctx, t.cmd, []string{key}, claimRuns+c.Owner, claimMillis(expiry))
	if err != nil {
		return false, 0, t.claimError(ctx, "begin", c, err)
	}
	left := number(reply)
	return left < 0, time.Duration(max(left, 0)) * time.Millisecond, nil
}

// Renew lets claims that run for their owners expire later: expiry from now. It returns those that do not any more. A claim that
// is absent because it expired is begun again. It takes one round trip, whatever their topics; where it returns an error too,
// nothing is known about the rest.
func (t *Transport) Renew(ctx context.Context, cs []transport.Claim, expiry time.Duration) (lost []transport.Claim, err error) {
	batches, err := t.claimBatches(cs)
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, cmd := range scriptKeep.each(ctx, t.cmd, len(batches), func(i int) ([]string, []any) { return batches[i].script(expiry) }) {
		b := batches[i]
		indexes, ok := cmd.Val().([]any)
		if !ok {
			errs = append(errs, t.claimError(ctx, "renew", b.claims[0], cmd.Err()))
		}
		for _, n := range indexes {
			lost = append(lost, b.claims[number(n)])
		}
	}
	return lost, errors.Join(errs...)
}

// A claimsOf are some claims of one topic.
type claimsOf struct {
	claims []transport.Claim
	keys   []string
}

// claimBatches puts together what one script may touch.
func (t *Transport) claimBatches(cs []transport.Claim) (batches []*claimsOf, err error) {
	open := map[string]*claimsOf{} // by topic
	for _, c := range cs {
		key, err := t.claim(c)
		if err != nil {
			return nil, err
		}
		b := open[c.Topic]
		if b == nil || len(b.keys) == claimBatch {
			b = &claimsOf{}
			open[c.Topic] = b
			batches = append(batches, b)
		}
		b.claims, b.keys = append(b.claims, c), append(b.keys, key)
	}
	return batches, nil
}

// script returns the keys and arguments of scripts/keep.lua.
func (b *claimsOf) script(expiry time.Duration) ([]string, []any) {
	args := []any{claimMillis(expiry)}
	for _, c := range b.claims {
		args = append(args, claimRuns+c.Owner)
	}
	return b.keys, args
}

// Finish makes a claim done, and keeps it so for the given time, whoever has it now. It takes one round trip (SET).
func (t *Transport) Finish(ctx context.Context, c transport.Claim, keep time.Duration) error {
	key, err := t.claim(c)
	if err != nil {
		return err
	}
	set := redis.NewStatusCmd(ctx, "set", key, claimDone, "px", claimMillis(keep))
	return t.claimError(ctx, "finish", c, t.cmd.Process(ctx, set))
}

// Release makes a claim absent that runs for this owner. All others stay as they are. It takes one round trip.
func (t *Transport) Release(ctx context.Context, c transport.Claim) error {
	key, err := t.claim(c)
	if err != nil {
		return err
	}
	_, err = scriptRelease.run(ctx, t.cmd, []string{key}, claimRuns+c.Owner)
	return t.claimError(ctx, "release", c, err)
}

// claim is the key of a claim, if the transport and the names can be used.
func (t *Transport) claim(c transport.Claim) (key string, err error) {
	if err := t.usable(); err != nil {
		return "", err
	}
	if err := errors.Join(transport.CheckName("topic", c.Topic), transport.CheckName("group", c.Group)); err != nil {
		return "", fmt.Errorf("redisstream: claim: %w", err)
	}
	return claimKey(t.opts.Prefix, c.Topic, c.Group, c.Key), nil
}

// claimMillis is at least 1: Redis takes no expiry of 0.
func claimMillis(d time.Duration) int64 { return max(ceilMillis(d), 1) }

// claimError says whose claim it was, and not its key, which may be anything.
func (t *Transport) claimError(ctx context.Context, what string, c transport.Claim, err error) error {
	if err == nil {
		return nil
	}
	op, k := "claim of "+c.Topic+" for "+c.Group+": "+what, t.keys(c.Topic)
	if over := whyOver(ctx); over != nil && !answered(err) {
		err = over
	}
	if isDenied(err) {
		if all := t.denial(ctx, k, claimProbes(k)); all != nil {
			return &failure{"redisstream: " + op + ": " + all.Error(), []error{err}}
		}
	}
	return t.clarify(op, k.stream, err)
}
