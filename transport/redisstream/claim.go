package redisstream

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// A scan is how far looking through the pending lists of dead consumers has come.
type scan struct {
	cursor map[source]string
	left   map[source]bool // suspects were left behind since it began
	first  source          // which stream is served first; they take turns
}

func (r *reader) init(lease time.Duration) {
	r.scan = scan{cursor: map[source]string{fromTopic: "0-0", fromRetry: "0-0"}, left: map[source]bool{}, first: fromTopic}
	r.claimAt = time.Now().Add(lease)
}

// claimTick is how often a consumer looks for messages of dead ones: they are taken over within a lease and a tick.
func claimTick(lease time.Duration) time.Duration {
	return min(max(lease/4, 100*time.Millisecond), 10*time.Second)
}

// alwaysClaims is the lease below which a consumer looks for messages of dead ones at each tick. With longer ones there is time
// to find out first whether others hold anything: a survey and the end of a blocked read come within the lease.
const alwaysClaims = 8 * time.Second

// claims says whether there may be anything to take over.
func (s *subscription) claims() bool { return s.lease < alwaysClaims || s.others.Load() }

// claim takes over what has not been renewed for a lease, as much as there is room for, but no suspect while this process holds
// one.
func (s *subscription) claim(ctx context.Context, limit int) error {
	r := &s.reader
	r.claimAt, r.suspectsAt = time.Now().Add(jittered(claimTick(s.lease))), time.Time{}
	alone, began := s.t.quarantine.take(), time.Now()
	order := []source{r.scan.first, fromTopic + fromRetry - r.scan.first}
	reply, err := s.askForClaims(ctx, limit, order, alone)
	parts := list(reply)
	for i, src := range order[:min(len(parts), len(order))] {
		s.claimed(ctx, src, list(parts[i]), began)
	}
	if suspect := list(at(parts, 2)); len(suspect) > 0 {
		s.held.isolate(entryKey(order[number(suspect[0])-1], text(at(suspect, 1))))
	} else if alone {
		s.t.quarantine.free()
	}
	if err == nil {
		r.scan.first = order[1]
	}
	return err
}

func (s *subscription) askForClaims(ctx context.Context, limit int, order []source, alone bool) (reply any, err error) {
	allowed, retry := 0, 1
	if alone {
		allowed = 1
	}
	if order[1] == fromRetry {
		retry = 2
	}
	cursor := s.reader.scan.cursor
	err = s.do(ctx, answerWithin, func(ctx context.Context, c *readConn) (err error) {
		reply, err = scriptClaim.run(ctx, c, []string{s.keys.of(order[0]), s.keys.of(order[1])}, s.group.Name, s.consumer,
			max(s.lease.Milliseconds(), 1), min(limit, scriptBatch), allowed, retry, cursor[order[0]], cursor[order[1]])
		return err
	})
	return reply, err
}

// claimed takes what claim.lua returns for one stream.
func (s *subscription) claimed(ctx context.Context, src source, part []any, since time.Time) {
	r, tick := &s.reader, claimTick(s.lease)
	begins := r.scan.cursor[src] == "0-0"
	r.scan.cursor[src] = text(at(part, 0))
	r.scan.left[src] = number(at(part, 3)) > 0 || r.scan.left[src] && !begins
	s.take(ctx, scriptEntries(src, at(part, 1)), since)
	s.lostByTrimming(list(at(part, 2)))
	if r.scan.cursor[src] != "0-0" { // long lists are looked through in a tick, not in many
		r.claimAt = time.Now().Add(tick / 16)
	}
	if r.scan.left[src] {
		r.suspectsAt = time.Now().Add(suspectTick(s.lease))
	}
}

// scriptBatch bounds what one script does, because the server does nothing else meanwhile.
const scriptBatch = 100

// lostByTrimming reports entries that were deleted while they were pending: this group will not handle them.
func (s *subscription) lostByTrimming(ids []any) {
	if len(ids) == 0 {
		return
	}
	from, to := text(ids[0]), text(ids[0])
	for _, id := range ids {
		if entryIDLess(text(id), from) {
			from = text(id)
		}
		if entryIDLess(to, text(id)) {
			to = text(id)
		}
	}
	s.warn(s.loss("entries were deleted from the stream while they were pending", len(ids), from, to))
}

// adopt finds what is pending for this consumer without it knowing, because an answer was lost.
func (s *subscription) adopt(ctx context.Context) error {
	for _, src := range []source{fromTopic, fromRetry} {
		if err := s.adoptFrom(ctx, src); err != nil {
			return err
		}
	}
	s.reader.adoptAt = s.reader.adoptAt[1:]
	return nil
}

func (s *subscription) adoptFrom(ctx context.Context, src source) error {
	from := "-"
	for {
		var page []redis.XPendingExt
		var reply any
		began := time.Now()
		err := s.do(ctx, answerWithin, func(ctx context.Context, c *readConn) (err error) {
			page, err = c.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: s.keys.of(src), Group: s.group.Name,
				Start: from, End: "+", Count: scriptBatch, Consumer: s.consumer}).Result()
			if args := s.stranded(src, page); err == nil && len(args) > 2 {
				reply, err = scriptAdopt.run(ctx, c, []string{s.keys.of(src)}, args...)
			}
			return err
		})
		if err != nil {
			return err
		}
		s.takeAdopted(ctx, src, reply, began)
		if len(page) < scriptBatch {
			return nil
		}
		from = "(" + page[len(page)-1].ID
	}
}

// stranded are the arguments of adopt: what is pending and not known here.
func (s *subscription) stranded(src source, page []redis.XPendingExt) []any {
	args := []any{s.group.Name, s.consumer}
	for _, p := range page {
		if !s.held.knows(entryKey(src, p.ID)) {
			args = append(args, p.ID)
		}
	}
	return args
}

func (s *subscription) takeAdopted(ctx context.Context, src source, reply any, since time.Time) {
	var live []entry
	var deleted []any
	for _, e := range scriptEntries(src, reply) {
		if e.fields == nil {
			deleted = append(deleted, e.id)
		} else {
			live = append(live, e)
		}
	}
	s.take(ctx, live, since)
	s.held.isolateOne(live)
	s.lostByTrimming(deleted)
}

// adoptLast is for Close: what a lost answer brought is released with the rest.
func (s *subscription) adoptLast(ctx context.Context) error {
	if len(s.reader.adoptAt) == 0 {
		return nil
	}
	if err := s.adopt(ctx); err != nil && !isGroupGone(err) {
		return fmt.Errorf("look for stranded messages: %w", err)
	}
	return nil
}
