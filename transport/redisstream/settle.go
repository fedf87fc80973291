package redisstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// Settle implements [transport.Subscription]. What comes in one call goes out in one round trip: all that is simply done in one
// XACK, and everything else as one script each, which acknowledges last.
//
// Where an answer is lost Settle asks once more; that is safe, because a delivery can be ended once. If the answer then is that
// this consumer does not have it, while its lease cannot have run out, the first try did it.
func (s *subscription) Settle(ctx context.Context, ss []transport.Settlement) error {
	errs := make([]error, len(ss))
	if !s.settling.enter() {
		return s.settleError(ss, fill(errs, transport.ErrClosed))
	}
	defer s.settling.leave()
	all := takeEndings(len(ss))
	defer all.giveBack()
	es := s.begin(all.endings, ss, errs)
	s.finish(ctx, s.t.cmd, es)
	for _, e := range es {
		errs[e.index] = e.err
	}
	return s.settleError(ss, errs)
}

// endingSlab is room for the endings of one call, which the next one uses again.
type endingSlab struct{ endings []ending }

var endingSlabs = sync.Pool{New: func() any { return new(endingSlab) }}

func takeEndings(n int) *endingSlab {
	s := endingSlabs.Get().(*endingSlab)
	s.endings = slices.Grow(s.endings, n)[:n]
	return s
}

func (s *endingSlab) giveBack() {
	clear(s.endings)
	s.endings = s.endings[:0]
	endingSlabs.Put(s)
}

func fill(errs []error, err error) []error {
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// settleError is nil if no error is.
func (s *subscription) settleError(ss []transport.Settlement, errs []error) error {
	failed := false
	for i, err := range errs {
		if err != nil {
			errs[i] = s.t.clarify("settle "+s.name(), s.keys.stream, s.t.deniedStage(ss[i].Stage, err))
			if isAnswer(err) && (strings.HasPrefix(err.Error(), "WRONGTYPE") || strings.HasPrefix(err.Error(), "ERR The stream has exhausted")) {
				errs[i] = fmt.Errorf("%w: %w", transport.ErrRefused, errs[i])
			}
			failed = true
		}
	}
	if !failed {
		return nil
	}
	return &transport.SettleError{Errs: errs}
}

// An ending is a settlement under way.
type ending struct {
	index int
	src   source
	id    string
	held  *held // nil: the lease is lost, but the work is done
	*transport.Settlement
	count  int64
	staged []stagedWrite

	cmd   *redis.Cmd
	full  bool // the server did not know the script
	given bool // the entry is gone from the stream: send its fields
	gone  bool // and was so when the lease was renewed, so that it is pending for nobody
	tries int  // without an answer
	ended bool // acknowledged; see heldSet.endAll
	err   error
}

// plain endings need no script: their XACK is right whoever has the lease.
func (e *ending) plain() bool { return e.Verdict == transport.Done && len(e.Stage) == 0 }

// begin looks up what is to be settled. What is settled already is passed over, what cannot be settled gets its error.
func (s *subscription) begin(all []ending, ss []transport.Settlement, errs []error) []*ending {
	for i := range ss {
		all[i].index, all[i].Settlement = i, &ss[i]
		if all[i].staged, errs[i] = s.check(&ss[i]); errs[i] != nil && !errors.Is(errs[i], transport.ErrClosed) {
			errs[i] = fmt.Errorf("%w: %w", transport.ErrRefused, errs[i])
		}
	}
	es := make([]*ending, 0, len(ss))
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	for i := range all {
		if errs[i] != nil {
			continue
		}
		e := &all[i]
		switch h := s.held.byReceipt(ss[i].Receipt); {
		case h != nil:
			e.of(h)
			es = append(es, e)
		case !s.held.lost.has(ss[i].Receipt):
			if len(ss[i].Stage) > 0 && s.held.lost.mayHave(ss[i].Receipt) {
				errs[i] = transport.ErrLeaseLost // better twice than never
			}
		case e.plain():
			e.src, e.id = receiptEntry(ss[i].Receipt)
			es = append(es, e)
		default:
			errs[i] = transport.ErrLeaseLost
		}
	}
	return es
}

// of makes e end h. The lock of the held set is taken.
func (e *ending) of(h *held) {
	h.settling++
	e.src, e.id = h.entry()
	e.held, e.count, e.gone, e.given = h, h.count, h.gone, h.gone
}

// check says what is wrong with a settlement, and prepares what it stages.
func (s *subscription) check(st *transport.Settlement) ([]stagedWrite, error) {
	switch {
	case st.Delivery == nil:
		return nil, errors.New("settlement without a delivery")
	case st.Verdict < transport.Done || st.Verdict > transport.Dead:
		return nil, fmt.Errorf("settlement with the verdict %d: use Done, Failed, Deferred or Dead", st.Verdict)
	case len(st.Stage) > 0 && st.Verdict != transport.Done:
		return nil, fmt.Errorf("settlement as %v with staged messages: only Done stages", st.Verdict)
	}
	var staged []stagedWrite
	for i := range st.Stage {
		w, err := s.t.stage(s.keys.keys, &st.Stage[i])
		if err != nil {
			return nil, fmt.Errorf("staged message %d: %w", i, err)
		}
		staged = append(staged, w)
	}
	return staged, nil
}

// finish carries endings out and sets their errors.
func (s *subscription) finish(ctx context.Context, c redis.UniversalClient, es []*ending) {
	for todo := es; len(todo) > 0; {
		s.send(ctx, c.Pipeline(), todo)
		var again []*ending
		for _, e := range todo {
			switch {
			case !s.conclude(e):
			case ctx.Err() == nil:
				again = append(again, e)
			case e.err == nil:
				e.err = context.Cause(ctx)
			}
		}
		s.held.endAll(todo)
		todo = again
	}
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	for _, e := range es {
		if e.held != nil {
			e.held.settling--
		}
	}
}

// send makes one round trip.
func (s *subscription) send(ctx context.Context, pipe redis.Pipeliner, es []*ending) {
	for _, e := range es {
		if !e.plain() {
			e.cmd = scriptSettle.command(ctx, e.full, s.endingKeys(e), s.endingArgs(e)...)
			_ = pipe.Process(ctx, once{e.cmd})
		}
	}
	s.ack(ctx, pipe, fromTopic, es)
	s.ack(ctx, pipe, fromRetry, es)
	if _, err := pipe.Exec(ctx); err != nil {
		for _, e := range es {
			if e.cmd.Err() == nil && !hasAnswer(e.cmd) { // a refused connection leaves commands without an error
				e.cmd.SetErr(err)
			}
		}
	}
}

// ack acknowledges the plain ones of es that src has with one command, and deletes them from the retry stream with another.
func (s *subscription) ack(ctx context.Context, pipe redis.Pipeliner, src source, es []*ending) {
	key := s.keys.of(src)
	args := append(make([]any, 0, 3+len(es)), "xack", key, s.group.Name)
	for _, e := range es {
		if e.plain() && e.src == src {
			args = append(args, e.id) // no pointer, which would save an allocation: hooks of the client show arguments
		}
	}
	if len(args) == 3 {
		return
	}
	cmd := redis.NewCmd(ctx, args...)
	_ = pipe.Process(ctx, once{cmd})
	if src == fromRetry {
		cmd = redis.NewCmd(ctx, append([]any{"xdel", key}, args[3:]...)...) // the last of the two says whether both were done
		_ = pipe.Process(ctx, once{cmd})
	}
	for _, e := range es {
		if e.plain() && e.src == src {
			e.cmd = cmd
		}
	}
}

// hasAnswer says whether the server answered, whatever error go-redis put over it.
func hasAnswer(cmd *redis.Cmd) bool { return cmd.Val() != nil }

// conclude reads the answer to e, and says whether it has to be asked again.
func (s *subscription) conclude(e *ending) (again bool) {
	err := e.cmd.Err()
	if hasAnswer(e.cmd) {
		err = nil // go-redis puts a later error of the pipeline over it
	}
	switch {
	case err == nil && e.plain():
		e.err, e.ended = nil, true
		return false
	case err == nil:
		return s.concludeScript(e, number(e.cmd.Val()))
	case isNoScript(err) && !e.full:
		e.full = true
		return true
	case isGroupGone(err):
		e.err = s.undone(e)
		return false
	case isAnswer(err):
		e.err = err
		return false
	}
	e.err = err
	if !neverSent(err) {
		s.doubt(e)
	}
	e.tries++
	return e.tries < 2
}

func (s *subscription) concludeScript(e *ending, answer int64) (again bool) {
	e.err = nil
	switch answer {
	case 1:
		s.succeeded(e)
	case 2:
		if e.given {
			e.err = errors.New("the script did not take the fields it was given")
			return false
		}
		e.given = true
		return true
	case 3:
		e.err = s.undone(e)
	default:
		e.err = s.refused(e)
	}
	return false
}

// doubt notes that e may have happened.
func (s *subscription) doubt(e *ending) {
	if e.held == nil {
		return
	}
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	e.held.unsure = true
}

// succeeded is for what has happened.
func (s *subscription) succeeded(e *ending) {
	e.err = nil
	if e.held != nil {
		s.held.end(e.held)
	}
	if e.After > 0 && (e.Verdict == transport.Failed || e.Verdict == transport.Deferred) {
		s.t.moves.wake(s.t, s.keys.retryMove(), time.Now().Add(e.After))
	}
	for _, w := range e.staged {
		w.stored(s.t)
	}
}

// refused is for what the server says is not this consumer's. It is an error if that is news.
func (s *subscription) refused(e *ending) error {
	h := e.held
	s.held.mu.Lock()
	held := s.held.holds(h)
	happened := h.unsure && elapsed(h.since, time.Now()) < s.lease
	lost := s.held.lost.has(h.Receipt)
	s.held.mu.Unlock()
	switch {
	case !held && !lost: // another settlement of it was faster
		return nil
	case held && happened:
		s.succeeded(e)
		return nil
	case held:
		s.lose(h)
	}
	return transport.ErrLeaseLost
}

// undone is refused for what is known not to have been settled, or has been undone: a replica that took over may not have heard of
// it, and the message comes again.
func (s *subscription) undone(e *ending) error {
	s.held.mu.Lock()
	e.held.unsure = false
	s.held.mu.Unlock()
	return s.refused(e)
}

// release gives back what is held, for Close: as deferred until now, so that consumers that wait have it at once.
func (s *subscription) release(ctx context.Context) error {
	s.held.mu.Lock()
	var es []*ending
	for _, h := range s.held.byKey {
		e := &ending{index: len(es), Settlement: &transport.Settlement{Delivery: &h.Delivery, Verdict: transport.Deferred}}
		e.of(h)
		es = append(es, e)
	}
	s.held.mu.Unlock()
	var errs []error
	for first := 0; first < len(es); first += releaseBatch {
		s.finish(ctx, s.t.leases, es[first:min(first+releaseBatch, len(es))])
	}
	for _, e := range es {
		if e.err != nil && !errors.Is(e.err, transport.ErrLeaseLost) {
			errs = append(errs, e.err)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%d of %d deliveries could not be released and wait for their leases to run out: %w", len(errs), len(es), errs[0])
	}
	return nil
}

// releaseBatch is how many deliveries are released in one round trip.
const releaseBatch = 500
