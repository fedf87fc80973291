package redisstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// renewBatch bounds what one renewal looks at.
const renewBatch = 200

// keepLeases renews the leases of what is held, every third of a lease, and ends when nothing is held: a subscription that
// holds nothing costs nothing. It begins with the first entry that is held (held.go).
func (s *subscription) keepLeases() {
	timer := time.NewTimer(jittered(s.lease / 3))
	defer timer.Stop()
	failing := false
	for {
		select {
		case <-s.lived.Done():
			return
		case <-timer.C:
		}
		idle, still := s.held.idleKeeper()
		if idle {
			return
		}
		if still != nil {
			select {
			case <-s.lived.Done():
				return
			case <-still:
			}
		}
		late := s.expire() // this process stood still for a lease: others may have had a message and be done with it
		err := s.renew(s.lived, s.renewWithin())
		if late = s.expire() || late; late && !failing {
			failing = true
			s.warn(s.leasesLost(err))
		} else if err == nil {
			failing = false
		}
		timer.Reset(max(min(jittered(s.lease/3), s.untilExpiry()), time.Millisecond))
	}
}

func (s *subscription) leasesLost(err error) error {
	if err == nil {
		err = errors.New("this process stood still: look for a suspended machine or too little CPU")
	}
	return fmt.Errorf("redisstream: leases of %s were not renewed for %v and are lost: %w", s.name(), s.lease, err)
}

// A claimOn is a lease as it was when it was about to be renewed.
type claimOn struct {
	*held
	src   source
	id    string
	count int64
}

// renew tells the server that what is held is in good hands, and loses what is not ours any more. Each call is about one stream:
// while a slot of a Cluster moves, its keys may be on two nodes, and neither runs a script about both.
// limit is for each batch.
func (s *subscription) renew(ctx context.Context, limit time.Duration) error {
	all := s.held.renewable()
	retries, _ := slices.BinarySearchFunc(all, fromRetry, func(c claimOn, src source) int { return int(c.src) - int(src) })
	var errs []error
	for _, part := range [][]claimOn{all[:retries], all[retries:]} {
		for batch := range slices.Chunk(part, renewBatch) {
			if err := s.renewBatch(ctx, limit, batch); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// renewable returns what is held, that of the topic's stream first.
func (hs *heldSet) renewable() []claimOn {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	all := make([]claimOn, 0, len(hs.byKey))
	for _, h := range hs.byKey {
		if !h.gone {
			src, id := h.entry()
			all = append(all, claimOn{h, src, id, h.count})
		}
	}
	slices.SortFunc(all, func(a, b claimOn) int { return int(a.src) - int(b.src) })
	return all
}

// renewWithin leaves time for another try before the first lease runs out.
func (s *subscription) renewWithin() time.Duration {
	return max(min(s.lease/3, s.untilExpiry(), leaseTimeout), time.Millisecond)
}

func (s *subscription) renewBatch(ctx context.Context, limit time.Duration, batch []claimOn) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	args := []any{s.group.Name, s.consumer}
	for _, c := range batch {
		args = append(args, c.id, c.count)
	}
	reply, err := scriptRenew.run(ctx, s.t.leases, []string{s.keys.of(batch[0].src)}, args...)
	if err != nil {
		return err
	}
	s.renewed(batch, began, indexes(at(list(reply), 0)), indexes(at(list(reply), 1)), indexes(at(list(reply), 2)))
	return nil
}

func indexes(v any) map[int]bool {
	m := map[int]bool{}
	for _, n := range list(v) {
		m[int(number(n))] = true
	}
	return m
}

// renewed notes what the server said. What was claimed again or is being settled meanwhile is not judged by an older answer.
func (s *subscription) renewed(batch []claimOn, began time.Time, lost, gone, unsettled map[int]bool) {
	var losing []*held
	s.held.mu.Lock()
	for i, c := range batch {
		h := c.held
		switch {
		case !s.held.holds(h) || h.count != c.count:
		case lost[i] && h.settling > 0:
		case lost[i] && h.unsure && !unsettled[i]: // the settlement that had no answer has happened
			s.held.remove(h)
		case lost[i]:
			losing = append(losing, h)
		case gone[i]:
			h.gone = true
		default:
			h.since = began
		}
	}
	s.held.mu.Unlock()
	s.lose(losing...)
}

// expire loses what could not be renewed for a lease, and says whether there was any: others may have it by now.
func (s *subscription) expire() bool {
	var losing []*held
	now := time.Now()
	s.held.mu.Lock()
	for _, h := range s.held.byKey {
		if !h.gone && elapsed(h.since, now) >= s.lease {
			losing = append(losing, h)
		}
	}
	s.held.mu.Unlock()
	s.lose(losing...)
	return len(losing) > 0
}

// untilExpiry is when the first lease runs out if nothing is renewed.
func (s *subscription) untilExpiry() time.Duration {
	left, now := s.lease, time.Now()
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	for _, h := range s.held.byKey {
		if !h.gone {
			left = min(left, s.lease-elapsed(h.since, now))
		}
	}
	return left
}

// elapsed is by the clock that went further: the monotonic one stands still while a machine is suspended, the other may be set.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}
