package redisstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// A reader is what the read loop knows. The Receive that runs owns it.
type reader struct {
	buffer     []*held       // leased and not yet returned: COUNT is by stream, so a read can bring more than was asked for
	rejoin     bool          // the group is gone
	joined     time.Time     // when the group was last made again
	adoptAt    []time.Time   // when to look for what a lost answer brought
	claimAt    time.Time     // when to look for what dead consumers hold
	suspectsAt time.Time     // when to look for the suspects among it that were left behind; zero if there are none
	scan       scan          // claim.go
	reply      readReply     // what the read under way brought
	scratch    fields        // used again for each entry
	gapped     bool          // there was no read since lookForGaps
	empty      int           // reads in a row that brought nothing
	waits      time.Duration // how long the call under way may wait for an answer without anything being wrong
	trouble    time.Time     // since when nothing is heard from the server; zero if all is well
}

// idleBlock is how long a read of a subscription lasts that has had nothing to do for a while. It is what an idle subscription
// costs, and how long a connection that is half open goes unnoticed.
const idleBlock = 8 * time.Second

// Receive implements [transport.Subscription]: XREADGROUP on the topic's stream and the group's retry stream, on a connection
// of its own, never re-sent. An answer that is lost strands what it brought, so after each error but the server's own the
// subscription compares what is pending for it (XPENDING) with what it holds.
func (s *subscription) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	select {
	case <-s.ctx.Done():
		return nil, s.ended(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	case s.receiving <- struct{}{}:
	}
	defer func() { <-s.receiving }()
	limit = max(limit, 1)
	for {
		if ds := s.takeBuffered(limit); len(ds) > 0 && s.ctx.Err() == nil {
			return ds, nil
		}
		if err := s.ended(ctx); err != nil {
			return nil, err
		}
		if err := s.step(ctx, limit); err != nil && len(s.reader.buffer) == 0 {
			awaitDeadline(ctx, err)
			if end := s.ended(ctx); end != nil {
				return nil, end
			}
			return nil, s.t.clarify("receive "+s.name(), s.keys.stream, err)
		}
	}
}

// awaitDeadline lets ctx end if its deadline made err: connections notice it a moment earlier.
func awaitDeadline(ctx context.Context, err error) {
	if deadline, ok := ctx.Deadline(); ok && isTimeout(err) && time.Until(deadline) < 10*time.Millisecond {
		<-ctx.Done()
	}
}

// ended is why Receive ends, or nil.
func (s *subscription) ended(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return fmt.Errorf("redisstream: receive %s: %w", s.name(), transport.ErrClosed)
	}
	return ctx.Err()
}

func (s *subscription) takeBuffered(limit int) []*transport.Delivery {
	r := &s.reader
	n := min(limit, len(r.buffer))
	ds := s.held.hand(r.buffer[:n])
	r.buffer = r.buffer[n:]
	if len(r.buffer) == 0 {
		r.buffer = nil
	}
	return ds
}

// step does the one thing that is due, most urgent first.
func (s *subscription) step(ctx context.Context, limit int) error {
	r, now := &s.reader, time.Now()
	switch {
	case r.rejoin:
		return s.rejoin(ctx)
	case len(r.adoptAt) > 0 && !now.Before(r.adoptAt[0]):
		return s.judge(s.adopt(ctx))
	case s.claims() && (!now.Before(r.claimAt) || s.suspectsDue(now)):
		return s.judge(s.claim(ctx, limit))
	case s.topic.Retention.Hard && !r.gapped:
		return s.judge(s.lookForGaps(ctx))
	}
	return s.judge(s.read(ctx, limit))
}

// read waits for new entries.
func (s *subscription) read(ctx context.Context, limit int) error {
	block := s.blockTime(time.Now())
	s.reader.waits = block
	defer func() { s.reader.waits = 0 }()
	reply := &s.reader.reply
	defer reply.forget()
	reply.request = appendCommand(reply.request[:0], "xreadgroup", "group", s.group.Name, s.consumer,
		"count", strconv.Itoa(reply.within(limit)), "block", strconv.FormatInt(block.Milliseconds(), 10),
		"streams", s.keys.stream, s.keys.retry, ">", ">")
	var came time.Time
	err := s.do(ctx, block+readMargin, func(ctx context.Context, c *readConn) (err error) {
		if reply.buffer, came, err = c.ask(ctx, reply.request, reply.buffer); err != nil {
			return err
		}
		return reply.parse(reply.text(), s.keys.retry)
	})
	if err != nil {
		return err
	}
	if len(reply.entries) == 0 {
		s.reader.empty++
		return nil
	}
	s.reader.empty, s.reader.gapped = 0, false
	s.take(ctx, reply.entries, came)
	return nil
}

// blockTime is how long a read may wait: not beyond what else is to be done.
func (s *subscription) blockTime(now time.Time) time.Duration {
	r := &s.reader
	d := blockFor
	if r.empty > 2 {
		d = max(d, min(idleBlock, s.lease/4))
	}
	if s.claims() {
		d = min(d, r.claimAt.Sub(now))
		if !r.suspectsAt.IsZero() {
			d = min(d, r.suspectsAt.Sub(now))
		}
	}
	if len(r.adoptAt) > 0 {
		d = min(d, r.adoptAt[0].Sub(now))
	}
	return max(d, time.Millisecond)
}

// take leases what a read or a claim brought, which has been ours since then. If it took long to come, its leases may have run out
// before a renewal is due.
func (s *subscription) take(ctx context.Context, es []entry, since time.Time) {
	if len(es) == 0 {
		return
	}
	s.seen.note(es)
	s.reader.buffer = append(s.reader.buffer, s.hold(es, since)...)
	if time.Since(since) > s.lease/3 {
		s.renew(ctx, leaseTimeout)
		s.expire()
	}
}

// rejoin makes the lost group again and tells whose leases are lost with it. It returns an error when it comes again at once,
// so that the caller waits and nothing spins.
func (s *subscription) rejoin(ctx context.Context) error {
	r := &s.reader
	if time.Since(r.joined) < 100*time.Millisecond {
		r.joined = time.Time{}
		return fmt.Errorf("the group %s is gone again: %w", s.group.Name, transport.ErrNoGroup)
	}
	if err := s.join(ctx, false); err != nil {
		return err
	}
	r.rejoin, r.joined = false, time.Now()
	s.renew(ctx, s.renewWithin())
	return nil
}

// judge decides what an error of the read loop means. It returns nil if the loop can go on by itself.
func (s *subscription) judge(err error) error {
	switch {
	case err == nil:
	case isGroupGone(err):
		s.reader.rejoin = true
		return nil
	case isTimeout(err) && !errors.Is(err, errNoLink):
		return nil // a read that others win again and again can outlast its BLOCK (redis#12998); connecting tells if it is more
	}
	return err
}

// answered notes a round trip. After an outage every consumer's leases look old; they get time to be renewed.
func (s *subscription) answered(began time.Time) {
	r, now := &s.reader, time.Now()
	s.lastTrip.Store(now.UnixNano())
	since := began.Add(r.waits)
	if !r.trouble.IsZero() {
		since = r.trouble
	}
	if now.Sub(since) > s.lease/3 {
		r.claimAt, r.suspectsAt = later(r.claimAt, now.Add(s.lease)), time.Time{}
	}
	r.trouble = time.Time{}
}

// troubled notes since when the server does not answer.
func (r *reader) troubled(since time.Time) {
	if r.trouble.IsZero() {
		r.trouble = since
	}
}

// unanswered notes that a call had no answer, so that what it did on the server is not known. A call may still be on its way,
// or wait there until its BLOCK is over: look at once and then again.
func (s *subscription) unanswered(began time.Time, err error) {
	r, now := &s.reader, time.Now()
	if isTimeout(err) {
		r.troubled(began)
	}
	r.troubled(now)
	r.adoptAt = []time.Time{now, now.Add(idleBlock + time.Second)}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// jittered is between 3/4 d and d, so that what many do does not happen at once.
func jittered(d time.Duration) time.Duration { return d - time.Duration(rand.Int64N(int64(d)/4+1)) }

// isAnswer says whether an error is the server's own: the command was not carried out, or had nothing to return.
func isAnswer(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer) && !errors.Is(err, errNoLink)
}

// breaksLink says whether the connection is of no more use: it is broken, or the stream is not here.
func breaksLink(err error) bool {
	if err == nil || !isAnswer(err) {
		return err != nil
	}
	_, moved := redis.IsMovedError(err)
	_, ask := redis.IsAskError(err)
	return moved || ask || redis.IsReadOnlyError(err) || strings.HasPrefix(err.Error(), "UNBLOCKED force")
}

// isGroupGone: Redis 7.0 says UNBLOCKED to reads whose key goes away while they wait, later ones NOGROUP.
func isGroupGone(err error) bool {
	return isAnswer(err) && (strings.HasPrefix(err.Error(), "NOGROUP") || strings.HasPrefix(err.Error(), "UNBLOCKED the stream"))
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}
