package middleware

import (
	"context"
	"hash/maphash"
	"maps"
	"math"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// MemoryClaims are [Claims] in memory, for tests and for services of one process. They end with the process, so they know
// nothing of what was handled before it began. All methods may be called concurrently; none of them waits.
//
// An event takes about 200 bytes, and what is to be forgotten leaves memory while others come, when it is half of all: 24 hours
// at 10 events a second are 170 to 350 MB. Give [IdempotentOptions] a shorter Keep where that is too much.
type MemoryClaims struct {
	seeds  [2]maphash.Seed
	start  time.Time
	shards [claimShards]claimShard
}

var _ Claims = (*MemoryClaims)(nil)

// claimShards bounds how much is locked and looked through at a time.
const claimShards = 64

type claimShard struct {
	mu      sync.Mutex
	claims  map[claimName]memoryClaim
	sweepAt int // how many claims there may be before the expired are looked for
}

// claimName is 128 bits of hash of a claim's topic, group and key, of seeds that nobody knows: no two claims have the same, as far
// as anybody will see, and keys take no memory.
type claimName [2]uint64

type memoryClaim struct {
	owner string        // of a running claim
	until time.Duration // since the start
	done  bool
}

// NewMemoryClaims makes a store without claims. It needs no end.
func NewMemoryClaims() *MemoryClaims {
	return &MemoryClaims{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, start: time.Now()}
}

// Begin is as [Claims] says. It fails only if ctx has ended, as do the others.
func (m *MemoryClaims) Begin(ctx context.Context, c transport.Claim, expiry time.Duration) (done bool, wait time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return false, 0, err
	}
	s, name, now := m.lock(c)
	defer s.mu.Unlock()
	if is, ok := s.at(name, now); ok && is.done {
		return true, 0, nil
	} else if ok && is.owner != c.Owner {
		return false, is.until - now, nil
	}
	s.put(name, memoryClaim{owner: c.Owner, until: after(now, expiry)}, now)
	return false, 0, nil
}

// Renew is as [Claims] says.
func (m *MemoryClaims) Renew(ctx context.Context, cs []transport.Claim, expiry time.Duration) (lost []transport.Claim, err error) {
	for _, c := range cs {
		done, wait, err := m.Begin(ctx, c, expiry)
		if err != nil {
			return nil, err
		}
		if done || wait > 0 {
			lost = append(lost, c)
		}
	}
	return lost, nil
}

// Finish is as [Claims] says.
func (m *MemoryClaims) Finish(ctx context.Context, c transport.Claim, keep time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, name, now := m.lock(c)
	defer s.mu.Unlock()
	s.put(name, memoryClaim{done: true, until: after(now, keep)}, now)
	return nil
}

// Release is as [Claims] says.
func (m *MemoryClaims) Release(ctx context.Context, c transport.Claim) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, name, now := m.lock(c)
	defer s.mu.Unlock()
	if is, ok := s.at(name, now); ok && !is.done && is.owner == c.Owner {
		delete(s.claims, name)
	}
	return nil
}

// lock returns the locked shard of a claim, and the time.
func (m *MemoryClaims) lock(c transport.Claim) (*claimShard, claimName, time.Duration) {
	of := [3]string{c.Topic, c.Group, c.Key}
	name := claimName{maphash.Comparable(m.seeds[0], of), maphash.Comparable(m.seeds[1], of)}
	s := &m.shards[name[0]%claimShards]
	s.mu.Lock()
	return s, name, time.Since(m.start)
}

// after is now + d. The longest there is stays the longest: who keeps for ever must not forget at once.
func after(now, d time.Duration) time.Duration { return now + min(d, math.MaxInt64-now) }

// at finds a claim that is neither absent nor expired.
func (s *claimShard) at(name claimName, now time.Duration) (memoryClaim, bool) {
	c, ok := s.claims[name]
	return c, ok && c.until > now
}

func (s *claimShard) put(name claimName, c memoryClaim, now time.Duration) {
	if len(s.claims) >= s.sweepAt {
		s.sweep(now)
	}
	s.claims[name] = c
}

// sweep forgets what has expired.
func (s *claimShard) sweep(now time.Duration) {
	before := len(s.claims)
	maps.DeleteFunc(s.claims, func(_ claimName, c memoryClaim) bool { return c.until <= now })
	if len(s.claims) <= before/8 { // maps do not shrink
		live := make(map[claimName]memoryClaim, len(s.claims))
		maps.Copy(live, s.claims)
		s.claims = live
	}
	s.sweepAt = max(2*len(s.claims), 32)
}
