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
	first  source // which stream is served first; they take turns
}

func (r *reader) init(lease time.Duration) {
	r.scan = scan{cursor: map[source]string{fromTopic: "0-0", fromRetry: "0-0"}, first: fromTopic}
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

// claim takes over what has not been renewed for a lease, as much as there is room for (XAUTOCLAIM).
func (s *subscription) claim(ctx context.Context, limit int) error {
	r := &s.reader
	r.claimAt = time.Now().Add(jittered(claimTick(s.lease)))
	order := []source{r.scan.first, fromTopic + fromRetry - r.scan.first}
	var reply any
	err := s.do(ctx, answerWithin, func(ctx context.Context, c *readConn) (err error) {
		reply, err = scriptClaim.run(ctx, c, []string{s.keys.of(order[0]), s.keys.of(order[1])}, s.group.Name, s.consumer,
			max(s.lease.Milliseconds(), 1), min(limit, scriptBatch), r.scan.cursor[order[0]], r.scan.cursor[order[1]])
		return err
	})
	if err != nil {
		return err
	}
	r.scan.first = order[1]
	for i, src := range order {
		part := list(at(list(reply), i))
		r.scan.cursor[src] = text(at(part, 0))
		s.take(scriptEntries(src, at(part, 1)))
		s.lostByTrimming(list(at(part, 2)))
		if r.scan.cursor[src] != "0-0" { // long lists are looked through in a tick, not in many
			r.claimAt = time.Now().Add(claimTick(s.lease) / 16)
		}
	}
	return nil
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
		s.takeAdopted(src, reply)
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

func (s *subscription) takeAdopted(src source, reply any) {
	var live []entry
	var deleted []any
	for _, e := range scriptEntries(src, reply) {
		if e.fields == nil {
			deleted = append(deleted, e.id)
		} else {
			live = append(live, e)
		}
	}
	s.take(live)
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
