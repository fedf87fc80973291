package simulate_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// faultySub is one consumer, with faults at each call. It watches that the engine keeps its side of the contract.
type faultySub struct {
	f     *faulty
	sub   transport.Subscription
	tell  func(*transport.Delivery)
	lease time.Duration

	receiving, settling, leasing *dice

	mu        sync.Mutex
	busy      bool // Receive runs
	closed    bool
	trouble   time.Time           // when a settlement was last hindered
	known     map[string]*watched // what the engine has got, by receipt
	lostEarly map[string]bool     // receipts that were lost before it had them
}

func (s *faultySub) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	s.enter(limit)
	defer s.leave()
	w, d := s.f.w, s.receiving
	if w.strikes(d, receiveFails) {
		return nil, errNet
	}
	if w.strikes(d, receiveFewer) {
		limit = 1 + d.below(limit)
	}
	ds, err := s.sub.Receive(ctx, limit)
	if err != nil || len(ds) == 0 {
		return ds, err
	}
	if w.strikes(d, receiveUnheard) {
		s.strand(ds)
		return nil, errNet
	}
	if w.strikes(d, receiveSlow) {
		wait(ctx, d.upTo(5*time.Second)) // what was leased is not forgotten because ctx ended
	}
	s.watch(ds)
	return ds, nil
}

func (s *faultySub) enter(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy || s.closed || limit < 1 {
		s.f.breach("Receive(%d) while receiving %v, closed %v", limit, s.busy, s.closed)
	}
	s.busy = true
}

func (s *faultySub) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
}

// strand leaves deliveries without anybody who knows of them, until their leases are over.
func (s *faultySub) strand(ds []*transport.Delivery) {
	time.AfterFunc(s.leasing.upTo(s.lease), func() {
		for _, d := range ds {
			s.f.Expire(s.sub, d)
		}
	})
}

func (s *faultySub) watch(ds []*transport.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range ds {
		x := s.f.w.watch(s, d, s.lostEarly[d.Receipt])
		s.known[d.Receipt] = x
		if s.f.w.strikes(s.leasing, leaseLost) {
			time.AfterFunc(s.leasing.upTo(2*s.lease), func() { s.expire(d) })
		}
	}
}

// expire ends a lease as if it had not been renewed.
func (s *faultySub) expire(d *transport.Delivery) {
	s.f.w.lasted(s.f.name, time.Now().Add(-s.lease))
	s.f.Expire(s.sub, d)
}

// leaseLost is told by the broker, and tells the engine, perhaps only after a while.
func (s *faultySub) leaseLost(d *transport.Delivery) {
	s.f.w.lossKnown(s.knownAs(d.Receipt))
	if s.f.w.strikes(s.leasing, lossToldLate) {
		time.AfterFunc(s.leasing.upTo(s.lease), func() { s.tellLost(d) })
		return
	}
	s.tellLost(d)
}

func (s *faultySub) tellLost(d *transport.Delivery) {
	s.mu.Lock()
	x, closed := s.known[d.Receipt], s.closed
	s.lostEarly[d.Receipt] = x == nil
	s.mu.Unlock()
	if closed {
		return
	}
	if s.tell(d); x != nil {
		s.f.w.lossTold(x)
	}
}

func (s *faultySub) Settle(ctx context.Context, ss []transport.Settlement) error {
	s.look(ss)
	err := s.settle(ctx, ss)
	s.note(ss, err)
	return err
}

// settle ends all, some or none of them, and tells the truth or does not know.
func (s *faultySub) settle(ctx context.Context, ss []transport.Settlement) error {
	w, d := s.f.w, s.settling
	if w.strikes(d, settleSlow) && wait(ctx, d.upTo(4*time.Second)) != nil {
		return ctx.Err()
	}
	if w.strikes(d, settleTooLate) {
		s.expire(ss[d.below(len(ss))].Delivery)
	}
	switch {
	case w.strikes(d, settleFails):
		return errNet
	case w.strikes(d, settleUnheard):
		s.end(ctx, ss)
		return errNet
	case w.strikes(d, settlePartly):
		return s.each(ctx, ss, func() bool { return d.one(2) }, errNet)
	case w.weather[settleRefused] > 0:
		return s.each(ctx, ss, func() bool { return w.strikes(d, settleRefused) }, transport.ErrRefused)
	}
	return s.end(ctx, ss)
}

// each settles one by one what is not left out with err.
func (s *faultySub) each(ctx context.Context, ss []transport.Settlement, leaveOut func() bool, err error) error {
	each, failed := &transport.SettleError{Errs: make([]error, len(ss))}, false
	for i := range ss {
		may := err != transport.ErrRefused || s.refusable(ss[i])
		if may && leaveOut() {
			each.Errs[i] = err
		} else {
			each.Errs[i] = settleErrorAt(s.end(ctx, ss[i:i+1]), 0)
		}
		failed = failed || each.Errs[i] != nil
	}
	if !failed {
		return nil
	}
	return each
}

// refusable: only what stages or dies can be refused, and nothing that was taken before, though nobody heard of it.
func (s *faultySub) refusable(st transport.Settlement) bool {
	if len(st.Stage) == 0 && st.Verdict != transport.Dead {
		return false
	}
	x := s.knownAs(st.Receipt)
	s.f.w.mu.Lock()
	defer s.f.w.mu.Unlock()
	return x.taken == 0
}

// end settles at the broker.
func (s *faultySub) end(ctx context.Context, ss []transport.Settlement) error {
	ss = s.f.w.sabotage.settle(ss)
	err := s.sub.Settle(ctx, ss)
	for i := range ss {
		if settleErrorAt(err, i) == nil {
			s.f.w.taken(s.knownAs(ss[i].Receipt), ss[i])
		}
	}
	return err
}

func settleErrorAt(err error, i int) error {
	var each *transport.SettleError
	if errors.As(err, &each) {
		return each.Errs[i]
	}
	return err
}

func (s *faultySub) knownAs(receipt string) *watched {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[receipt]
}

// look judges what the engine wants to settle.
func (s *faultySub) look(ss []transport.Settlement) {
	if s.mu.Lock(); s.closed {
		s.f.breach("Settle after Close")
	}
	s.mu.Unlock()
	for i := range ss {
		s.f.w.judge(s.knownAs(ss[i].Receipt), ss[i])
	}
}

// note remembers what the engine was told.
func (s *faultySub) note(ss []transport.Settlement, err error) {
	if err != nil {
		s.f.w.lasted(s.f.name, time.Now())
		s.mu.Lock()
		s.trouble = time.Now()
		s.mu.Unlock()
	}
	for i := range ss {
		s.f.w.answered(s.knownAs(ss[i].Receipt), settleErrorAt(err, i))
	}
}

// calmAgain is how long after a settlement was hindered it should have been tried again with success.
const calmAgain = 20 * time.Second

func (s *faultySub) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed || ctx.Err() != nil {
		s.f.breach("Close, closed already %v, context %v", s.closed, ctx.Err())
	}
	if s.f.w.weather[settleSlow] == 0 && time.Since(s.trouble) > calmAgain {
		for _, x := range s.known {
			s.f.w.leftToClose(x)
		}
	}
	s.closed = true
	s.mu.Unlock()
	d := s.settling
	if s.f.w.strikes(d, closeSlow) && wait(ctx, d.upTo(10*time.Second)) != nil || s.f.w.strikes(d, closeFails) {
		s.f.w.lasted(s.f.name, time.Now())
		s.f.Crash(s.sub)
		return errNet
	}
	return s.sub.Close(ctx)
}
